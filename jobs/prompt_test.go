package jobs_test

import (
	"encoding/json"
	"testing"

	"gaff/jobs"
)

func TestPrompt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ input, want string }{
		"prompt":        {`{"prompt":" a fox ","text":"b"}`, "a fox"},
		"text":          {`{"text":"say it","prompt":""}`, "say it"},
		"wrapped":       {`{"input":{"prompt":"deeper"}}`, "deeper"},
		"input":         {`{"input":"a text"}`, "a text"},
		"not a text":    {`{"prompt":{"a":1}}`, ""},
		"too deep":      {`{"input":{"input":{"prompt":"x"}}}`, ""},
		"not an object": {`["a"]`, ""},
		"invalid":       {`{`, ""},
		"empty":         {``, ""},
	} {
		if got := jobs.Prompt(json.RawMessage(c.input)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
