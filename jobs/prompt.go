package jobs

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Prompt returns the text that a job's input describes the wanted result with: the first of its
// members prompt, text, script and input that is a text, also one level deeper. Empty without one. An
// input that was cut counts as far as it goes.
func Prompt(input json.RawMessage) string {
	return promptIn(input, 2)
}

func promptIn(input json.RawMessage, depth int) string {
	if depth == 0 || !bytes.HasPrefix(bytes.TrimSpace(input), []byte("{")) {
		return ""
	}
	members := membersOf(input)
	for _, name := range []string{"prompt", "text", "script", "input"} {
		var text string
		if json.Unmarshal(members[name], &text) == nil && strings.TrimSpace(text) != "" {
			return strings.TrimSpace(text)
		}
	}
	return promptIn(members["input"], depth-1)
}

// membersOf returns the members of a JSON object, up to the place at which it was cut.
func membersOf(input json.RawMessage) map[string]json.RawMessage {
	members := map[string]json.RawMessage{}
	if json.Unmarshal(input, &members) == nil {
		return members
	}
	clear(members)
	d := json.NewDecoder(bytes.NewReader(input))
	if _, err := d.Token(); err != nil {
		return nil
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			break
		}
		begin := d.InputOffset()
		var value json.RawMessage
		key, _ := name.(string)
		if err := d.Decode(&value); err != nil {
			members[key] = bytes.TrimLeft(input[begin:], ": \n\t\r") // the rest of the text
			break
		}
		members[key] = value
	}
	return members
}
