package gaff_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/gafftest"
	"gaff/provider/fal"
	"gaff/store/sqlite"
)

// Album is what an application adds pictures to.
type Album struct{ added chan []fal.File }

func (a *Album) Add(_ context.Context, files []fal.File) error {
	a.added <- files
	return nil
}

// receive is the example of the package's documentation.
func receive(ctx context.Context, mux *http.ServeMux, options fal.Options, album *Album) (*gaff.Gateway, error) {
	st, err := sqlite.Open(ctx, "gaff.db", sqlite.Options{})
	if err != nil {
		return nil, err
	}
	gw, err := gaff.New(gaff.Options{Store: st})
	if err != nil {
		return nil, err
	}
	source, err := fal.Source(options)
	if err != nil {
		return nil, err
	}
	gw.AddSource(source)
	gw.Handle("fal", fal.Completed, fal.Handler(func(ctx context.Context, ev *gaff.Event, r fal.Result) error {
		return album.Add(ctx, r.Images)
	}))
	mux.Handle(gaff.PathPrefix, gw.IngestHandler())
	return gw, gw.Start(ctx) // gw.Stop(ctx) ends it
}

// The example of the package's documentation is the function above, and it works.
func TestPackageExample(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("doc_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var shown strings.Builder
	for line := range strings.Lines(string(doc)) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			shown.WriteString(code)
		}
	}
	if shown.Len() == 0 || !bytes.Contains(source, []byte(shown.String())) {
		t.Errorf("doc.go shows another example than is tested here:\n%s", shown.String())
	}

	t.Chdir(t.TempDir())
	mux, album := http.NewServeMux(), &Album{added: make(chan []fal.File, 1)}
	gw, err := receive(t.Context(), mux, fal.Options{Secrets: []string{"a secret"}}, album)
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Stop(context.Background())
	server := httptest.NewServer(mux)
	defer server.Close()
	req, err := gafftest.SignedRequest(t.Context(), server.URL+"/api/v1/webhooks/fal", "fal", "a secret", gafftest.GenerateTestPayload("fal", fal.Completed))
	if err != nil {
		t.Fatal(err)
	}
	if res := gafftest.Do(nil, req); !res.Success {
		t.Fatalf("%+v", res)
	}
	select {
	case files := <-album.added:
		if len(files) != 1 {
			t.Errorf("%d files are added, want 1", len(files))
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing is added")
	}
}
