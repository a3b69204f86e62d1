package standin_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"gaff/internal/standin"
)

func TestLocalAnswersOnlyOnLoopbackNames(t *testing.T) {
	t.Parallel()
	h := standin.Local(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for host, want := range map[string]int{
		"127.0.0.1:3001": 204, "127.9.9.9": 204, "localhost:3001": 204, "LOCALHOST": 204, "fal.localhost:1": 204, "[::1]:3001": 204, "[::ffff:127.0.0.1]:1": 204,
		"evil.example:3001": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "": 421, "192.0.2.1": 421, "0.0.0.0:3001": 421, "127.0.0.1@evil.example": 421,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		}
	}
}
