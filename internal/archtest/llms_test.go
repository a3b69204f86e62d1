package archtest

import (
	"flag"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/llms.txt")

var docLink = regexp.MustCompile(`\[([^\]]+)\]\(([^)#\s]+\.md)(#[^)]*)?\)`)

// TestLLMsTextListsTheDocumentation compares docs/llms.txt (llmstxt.org) with the pages that docs/README.md
// names; go test ./internal/archtest -update writes it.
func TestLLMsTextListsTheDocumentation(t *testing.T) {
	t.Parallel()
	index, err := os.ReadFile(filepath.Join("..", "..", "docs", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# gaff\n\n> A gateway for inbound webhooks of asynchronous services, AI image, video and audio generation first: it verifies, stores before it answers,\n" +
		"> applies effects exactly once, retries, polls jobs whose webhook never came, and forwards events. One binary with SQLite, or PostgreSQL.\n\n## Documentation\n\n")
	seen := map[string]bool{}
	for line := range strings.Lines(string(index)) {
		for _, link := range docLink.FindAllStringSubmatch(line, -1) {
			at := path.Join("docs", link[2])
			if seen[at] {
				continue
			}
			seen[at] = true
			b.WriteString("- [" + titleOf(t, at) + "](" + strings.TrimPrefix("../"+at, "../docs/") + "): " + about(line) + "\n")
		}
	}
	b.WriteString("\n## API\n\n- GET /api/openapi.json of a running gateway: all operations (OpenAPI 3.1)\n- /mcp: tools for agents, see agents.md\n")
	file := filepath.Join("..", "..", "docs", "llms.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != b.String() {
		t.Errorf("%s is not current (%v); run go test ./internal/archtest -run LLMs -update", file, err)
	}
}

// titleOf returns the first heading of a page.
func titleOf(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(page)))
	if err != nil {
		t.Errorf("docs/README.md names %s: %v", page, err)
	}
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "# "); ok {
			return strings.TrimSpace(title)
		}
	}
	t.Errorf("%s has no title", page)
	return page
}

// about returns what a line of the index says of its page: the task of a table's row, or the text
// after the colon of a list item.
func about(line string) string {
	line = strings.TrimSpace(line)
	if cells := strings.Split(line, "|"); len(cells) > 2 {
		return strings.TrimSpace(docLink.ReplaceAllString(cells[1], "$1"))
	}
	_, text, _ := strings.Cut(line, "): ")
	return docLink.ReplaceAllString(strings.TrimSpace(text), "$1")
}
