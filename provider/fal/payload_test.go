package fal_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"gaff"
	"gaff/provider/fal"
)

// A handler gets what the model returned, whichever dialect the webhook is of.
func TestPayloadOfBothDialects(t *testing.T) {
	t.Parallel()
	const payload = `{"images":[{"url":"https://example.com/a.png"}],"seed":17454220438242315174}`
	for name, c := range map[string]struct {
		data  string
		fault string
	}{
		"fal's":                  {`{"request_id":"r","status":"OK","error":null,"payload":` + payload + `}`, ""},
		"the document's":         {`{"request_id":"r","status":"completed","result":` + payload + `,"metadata":{"job_id":"j"}}`, ""},
		"fal's without a result": {`{"request_id":"r","status":"OK","payload":null,"payload_error":"not serializable"}`, "not serializable"},
		"in progress":            {`{"request_id":"r","status":"in_progress","metadata":{"job_id":"j"}}`, "no payload"},
		"no JSON":                {`x`, "not a JSON object"},
		"another form":           {`{"request_id":"r","status":"OK","payload":{"images":"none"}}`, "cannot unmarshal"},
	} {
		ev := &gaff.Event{Source: "fal", Type: fal.Completed, Data: json.RawMessage(c.data)}
		for how, handler := range map[string]func(f func(context.Context, *gaff.Event, fal.Result) error) gaff.Handler{
			"fal.Handler": fal.Handler[fal.Result], "gaff.JSON": gaff.JSON[fal.Result],
		} {
			var got fal.Result
			err := handler(func(_ context.Context, _ *gaff.Event, r fal.Result) error {
				got = r
				return nil
			}).Handle(t.Context(), ev)
			switch {
			case c.fault != "":
				if err == nil || how == "fal.Handler" && !strings.Contains(err.Error(), c.fault) {
					t.Errorf("%s by %s: %v, want %q", name, how, err, c.fault)
				}
			case err != nil || len(got.Images) != 1 || got.Seed != "17454220438242315174" || string(got.Extra) != payload:
				t.Errorf("%s by %s: %+v, %v", name, how, got, err)
			}
		}
	}
	var alone fal.Result
	if err := json.Unmarshal([]byte(payload), &alone); err != nil || len(alone.Images) != 1 {
		t.Errorf("a payload alone: %+v, %v", alone, err)
	}
}
