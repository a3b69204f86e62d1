package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gaff"
	"gaff/destination"
	"gaff/internal/testcode"
)

func describeEventTest(api huma.API, op *huma.Operation) {
	languages := make([]any, len(testcode.Languages))
	for i, name := range testcode.Languages {
		languages[i] = name
	}
	op.Parameters = append(idParam(), queryParam("lang", "The language; default go.", &huma.Schema{Type: "string", Enum: languages}))
	op.Description += " It signs the event's envelope, without job and files, and posts it to your application."
	op.Responses = map[string]*huma.Response{"200": response("The code", "text/plain", &huma.Schema{Type: "string"})}
	op.Errors = append(op.Errors, http.StatusBadRequest)
}

// getEventTest answers with an event as a test, as a download. For viewers the sender's secret in it
// is masked.
func (s *server) getEventTest(w http.ResponseWriter, r *http.Request) {
	language := r.URL.Query().Get("lang")
	if language == "" {
		language = testcode.Languages[0]
	}
	if !testcode.Known(language) {
		rejectWith(w, r, http.StatusBadRequest, "lang: want go, ts or curl")
		return
	}
	d, err := s.store(r.Context()).Event(r.Context(), r.PathValue("id"))
	if err == nil && d.Damaged {
		err = gaff.ErrDamaged
	}
	if err != nil {
		s.reject(w, r, err)
		return
	}
	if isViewer(r.Context()) {
		d = d.Masked(s.secrets(d.Source))
	}
	envelope, err := destination.NewEnvelope(r.Context(), &d.Event, nil)
	if err != nil {
		s.reject(w, r, err)
		return
	}
	code, err := testcode.Write(language, d.ID, envelope)
	if err != nil {
		rejectWith(w, r, http.StatusConflict, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="`+d.ID+testcode.Extension(language)+`"`)
	_, _ = w.Write([]byte(code))
}
