// Go: POST /pictures submits a job, POST /gaff receives its end.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"gaff/client"
)

func main() {
	http.Handle("POST /gaff", client.Handler(client.Options{Secrets: strings.Split(os.Getenv("GAFF_SECRET"), ",")}, received))
	http.HandleFunc("POST /pictures", submit)
	ln, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"port\":%d}\n", ln.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(ln, nil)) //nolint:gosec // an example, on this machine
}

// received may be called twice for one delivery: store client.DeliveryID(ctx) in the transaction of the work.
func received(_ context.Context, e *client.Envelope) error {
	if e.Kind() != "gaff:job.completed" {
		return nil
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"job": e.Job.ID, "status": e.Job.Status, "files": len(e.Media)})
}

func submit(w http.ResponseWriter, r *http.Request) {
	var in struct{ Prompt string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, _ := json.Marshal(map[string]any{"provider": "fal", "model": "fal-ai/flux/dev", "input": map[string]string{"prompt": in.Prompt}, "projectId": "pictures"})
	req, _ := http.NewRequestWithContext(r.Context(), http.MethodPost, os.Getenv("GAFF_URL")+"/api/v1/jobs", bytes.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+os.Getenv("GAFF_TOKEN"))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}
