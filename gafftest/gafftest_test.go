package gafftest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"gaff/gafftest"
	"gaff/verify"
)

const secret = "a secret"

// receiver is an application's own webhook route, as the application wrote it.
func receiver() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !verify.VerifyWebhookSignature(body, r.Header.Get("X-Fal-Signature"), secret) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"Invalid signature"}`)
			return
		}
		_, _ = io.WriteString(w, `{"success":true}`)
	}))
}

// The application's testLocalWebhook.
func ExampleTestWebhook() {
	app := receiver()
	defer app.Close()
	payload := gafftest.GenerateTestPayload("fal", "generation.completed")
	result := gafftest.TestWebhook(context.Background(), nil, app.URL, payload, http.Header{
		"x-fal-signature": {verify.GenerateWebhookSignature(payload, secret)},
	})
	fmt.Println(result.Success, result.Status, result.Response)

	result = gafftest.TestWebhook(context.Background(), nil, app.URL, payload, nil)
	fmt.Println(result.Success, result.Status, result.Response)
	// Output:
	// true 200 {"success":true}
	// false 401 {"error":"Invalid signature"}
}

// The same, signed by the helper.
func ExampleSignedRequest() {
	app := receiver()
	defer app.Close()
	req, err := gafftest.SignedRequest(context.Background(), app.URL, "fal", secret, gafftest.GenerateTestPayload("fal", ""))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(gafftest.Do(nil, req).Success)
	// Output: true
}

func ExampleGenerateTestPayload() {
	var payload struct {
		Status, Service string
		Result          struct {
			OutputURL string `json:"output_url"`
			Duration  int
		}
	}
	if err := json.Unmarshal(gafftest.GenerateTestPayload("lastframe", "processing.completed"), &payload); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(payload.Status, payload.Service, payload.Result.OutputURL, payload.Result.Duration)
	// Output: completed video-stitch https://example.com/stitched-video.mp4 120
}

// Every field of the application's own generateTestPayload is there.
func TestPayloadsHaveTheDocumentsFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source, eventType string
		fields            []string
	}{
		{"fal", "generation.completed", []string{"id", "metadata", "metadata.generation_type", "metadata.job_id", "metadata.project_id", "metadata.user_id", "request_id", "result", "result.images", "status", "timestamp"}},
		{"lastframe", "processing.completed", []string{"id", "job_id", "metadata", "metadata.original_job_id", "metadata.project_id", "metadata.user_id", "result", "result.duration", "result.output_url", "service", "status", "timestamp"}},
		{"anything", "order.paid", []string{"id", "timestamp", "type"}},
	} {
		var payload map[string]any
		if err := json.Unmarshal(gafftest.GenerateTestPayload(c.source, c.eventType), &payload); err != nil {
			t.Fatal(err)
		}
		var fields []string
		for name, value := range payload {
			fields = append(fields, name)
			members, _ := value.(map[string]any)
			for member := range members {
				fields = append(fields, name+"."+member)
			}
		}
		if slices.Sort(fields); !slices.Equal(fields, c.fields) {
			t.Errorf("%s has the fields %q, want %q", c.source, fields, c.fields)
		}
	}
}

func TestFailuresStandInTheResult(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	res := gafftest.TestWebhook(t.Context(), nil, gone.URL, []byte(`{}`), nil)
	if res.Success || res.Status != 0 || !strings.Contains(res.Error, "refused") {
		t.Errorf("nobody listens: %+v", res)
	}
	if res := gafftest.TestWebhook(t.Context(), nil, "::", []byte(`{}`), nil); res.Success || res.Error == "" {
		t.Errorf("no address: %+v", res)
	}
	text, err := json.Marshal(res)
	if err != nil || !strings.HasPrefix(string(text), `{"success":false,"error":`) {
		t.Errorf("%s, %v", text, err)
	}
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	if res := gafftest.TestWebhook(t.Context(), nil, endless.URL, []byte(`{}`), nil); len(res.Response) != 1<<20 {
		t.Errorf("an endless answer: %d bytes were read", len(res.Response))
	}
}

func TestUnknownTypePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	gafftest.GenerateTestPayload("fal", "generation.dancing")
}
