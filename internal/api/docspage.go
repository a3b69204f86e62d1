package api

import (
	"bytes"
	"fmt"
	"html"
	"strings"
)

// docsPage fills docs.html with the operations. html/template calls methods by reflection,
// which would keep every exported method in the binary (docs/decisions/0031-small-binary.md).
func docsPage(ops []docsOperation) []byte {
	before, after, _ := strings.Cut(docsHTML, "<!-- operations -->")
	var page bytes.Buffer
	page.WriteString(before)
	for _, op := range ops {
		fmt.Fprintf(&page, "<tr><td><code>%s</code><td><code>%s</code><td>%s. %s</tr>\n", html.EscapeString(op.Method),
			html.EscapeString(op.Path), html.EscapeString(op.Summary), html.EscapeString(op.Description))
	}
	page.WriteString(after)
	return page.Bytes()
}
