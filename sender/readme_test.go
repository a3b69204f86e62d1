package sender_test

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"gaff/sender"
)

// The README says how many senders the presets know.
func TestReadmeCountsThePresets(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("`preset:` knows (\\d+) senders").FindSubmatch(text)
	if m == nil {
		t.Fatal("README.md does not say how many senders the presets know")
	}
	if want := strconv.Itoa(len(sender.Presets())); string(m[1]) != want {
		t.Errorf("README.md says %s presets, there are %s", m[1], want)
	}
}
