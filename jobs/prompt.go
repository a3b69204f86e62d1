package jobs

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Prompt returns the text that a job's input describes the wanted result with: the first of its
// members prompt, text, script and input that is a text, also one level deeper. Empty without one.
func Prompt(input json.RawMessage) string {
	return promptIn(input, 2)
}

func promptIn(input json.RawMessage, depth int) string {
	if depth == 0 || !bytes.HasPrefix(bytes.TrimSpace(input), []byte("{")) {
		return ""
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(input, &members) != nil {
		return ""
	}
	for _, name := range []string{"prompt", "text", "script", "input"} {
		var text string
		if json.Unmarshal(members[name], &text) == nil && strings.TrimSpace(text) != "" {
			return strings.TrimSpace(text)
		}
	}
	return promptIn(members["input"], depth-1)
}
