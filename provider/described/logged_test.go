package described_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gaff/internal/redact"
	"gaff/jobs"
	"gaff/provider/described"
)

// answers is a provider that answers each poll with the same response.
type answers struct {
	r   *described.Response
	err error
}

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	return respond(a.r), nil
}

// Logs say why a poll failed, without a word of the answer.
func TestLogsSayWhyAPollFailed(t *testing.T) {
	t.Parallel()
	d, _ := described.Find("replicate")
	for _, c := range []struct {
		provider answers
		want     string
	}{
		{answers{r: &described.Response{Body: map[string]any{"status": "SECRET"}}}, `unknown status "…" of Replicate`},
		{answers{r: &described.Response{Body: map[string]any{"SECRET": "SECRET"}}}, "status: …"},
		{answers{r: &described.Response{Text: "<html>SECRET"}}, "Replicate answered 200"},
		{answers{r: &described.Response{Status: 500, Text: "SECRET"}}, "Replicate answered 500"},
		{answers{err: fmt.Errorf("SECRET: %w", io.ErrUnexpectedEOF)}, "unexpected EOF"},
		{answers{err: errors.New("SECRET")}, redact.Unlogged},
	} {
		client, err := described.New(d, described.Options{Name: "replicate", Secrets: map[string]string{"key": "k"}, HTTP: &http.Client{Transport: c.provider}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Poll(t.Context(), &jobs.Job{Provider: "replicate", RequestID: "r-1"})
		if got := redact.Error(err); got != c.want || strings.Contains(got, "SECRET") {
			t.Errorf("the log has %q, want %q (%v)", got, c.want, err)
		}
	}
}
