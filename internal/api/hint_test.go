package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCollectionsOfHintsExist(t *testing.T) {
	t.Parallel()
	lists := map[string]bool{}
	for _, r := range (&server{}).routes() {
		if r.op.Method == http.MethodGet && !strings.Contains(r.op.Path, "{") {
			lists[r.op.Path] = true
		}
	}
	for _, name := range collections {
		if !lists["/api/v1/"+name] {
			t.Errorf("GET /api/v1/%s does not exist", name)
		}
	}
}

func TestEveryListedResourceHasItsHint(t *testing.T) {
	t.Parallel()
	lists := map[string]bool{}
	for _, r := range (&server{}).routes() {
		lists[r.op.Method+" "+r.op.Path] = true
	}
	for operation := range lists {
		list, one := strings.CutSuffix(operation, "/{id}")
		if one && lists[list] && strings.HasPrefix(list, "GET ") && list != "GET "+logsPath && collection(strings.TrimPrefix(operation, "GET ")) == "/api/openapi.json" {
			t.Errorf("the hint of %s names no list", operation)
		}
	}
}

func TestEveryErrorHasAHint(t *testing.T) {
	t.Parallel()
	for status := 400; status < 600; status++ {
		if http.StatusText(status) == "" || status == http.StatusRequestTimeout {
			continue
		}
		if status >= 500 && hintOf(status, "/") == "" {
			t.Errorf("%d has none", status)
		}
	}
	w := httptest.NewRecorder()
	rejectWith(w, httptest.NewRequest(http.MethodGet, "/api/v1/events/evt_1", nil), http.StatusNotFound, "no such event")
	if !strings.Contains(w.Body.String(), `"hint":"Check the id or name: GET /api/v1/events lists them."`) {
		t.Errorf("answered %s", w.Body)
	}
}
