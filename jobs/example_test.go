package jobs_test

import (
	"encoding/json"
	"fmt"
	"time"

	"gaff"
	"gaff/jobs"
)

// A provider's result is walked for files, under any name.
func ExampleFiles() {
	files, _ := jobs.Files("fal", json.RawMessage(
		`{"video":{"url":"https://example.com/a.mp4","content_type":"video/mp4","duration":5.04},"thumbnail":{"url":"https://example.com/a.webp"}}`),
		time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC))
	for _, f := range files {
		fmt.Println(f.Position, f.MediaType, f.URL, string(f.Metadata))
	}
	// Output:
	// fal:/thumbnail generated-image https://example.com/a.webp {"generatedAt":"2026-01-31T12:00:00Z"}
	// fal:/video generated-video https://example.com/a.mp4 {"duration":5.04,"generatedAt":"2026-01-31T12:00:00Z"}
}

// farm is a provider of one's own. What it needs is an Interpreter: an event of it, read
// as a change to a job.
type farm struct{}

func (farm) Interpret(ev *gaff.Event) (jobs.Update, error) {
	var body struct {
		Render, Project, State string
		Output                 json.RawMessage
	}
	if err := json.Unmarshal(ev.Data, &body); err != nil {
		return jobs.Update{}, gaff.Discard(err) // it would read the same next time
	}
	u := jobs.Update{Provider: "farm", JobID: body.Render, RequestID: body.Render, Create: true, ProjectID: body.Project}
	switch body.State {
	case "done":
		u.Status, u.Result = jobs.JobCompleted, body.Output
		u.Files, u.FilesTotal = jobs.Files("farm", body.Output, ev.ReceivedAt)
	case "lost":
		u.Status, u.Error = jobs.JobFailed, "the render was lost"
	default:
		u.Status = jobs.JobProcessing
	}
	return u, nil
}

func ExampleInterpreter() {
	u, err := farm{}.Interpret(&gaff.Event{Data: json.RawMessage(
		`{"render":"r-7","project":"film-1","state":"done","output":{"frames_zip":{"url":"https://example.com/r-7.zip"}}}`)})
	fmt.Println(u.JobID, u.Status, len(u.Files), u.Files[0].MediaType, err)
	// Output: r-7 completed 1 generated-file <nil>
}
