// Command prose prints how often the comments of Go files use phrases that slow readers down.
package main

import (
	"bytes"
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kinds of phrases, counted per 1,000 words of comments.
var kinds = []struct {
	name    string
	pattern *regexp.Regexp
}{
	{"\"what is/was/came\" as a noun", regexp.MustCompile(`\bwhat (?:is|was|are|were|came|comes|waits|waited|happened|goes|went|arrived|arrives|has|had|can|cannot|may|must)\b`)},
	{"is none, is no", regexp.MustCompile(`\b(?:is|are|was|were) (?:none|no)\b`)},
	{"tells, is told", regexp.MustCompile(`\btells?\b|\b(?:is|are|was|were|be|been) told\b`)},
	{"stands", regexp.MustCompile(`\bstands\b`)},
	{"whoever, whatever", regexp.MustCompile(`\b(?:whoever|whatever)\b`)},
	{"anew, strangers, journeys, all the same, for good", regexp.MustCompile(`\b(?:anew|strangers?|journeys?|all the same|for good)\b`)},
}

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	text, err := allComments(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	words := len(strings.Fields(text))
	fmt.Printf("| per 1,000 words of comments (%d words) | |\n|---|---|\n", words)
	for _, k := range kinds {
		fmt.Printf("| %s | %.2f |\n", k.name, 1000*float64(len(k.pattern.FindAllString(text, -1)))/float64(words))
	}
}

// allComments returns the comments of all Go files below root but generated ones, in small
// letters, words separated by single spaces.
func allComments(root string) (string, error) {
	var text bytes.Buffer
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "node_modules"}, d.Name())):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil || bytes.HasPrefix(src, []byte("// Code generated")) {
			return err
		}
		writeComments(&text, src)
		return nil
	})
	return strings.ToLower(strings.Join(strings.Fields(text.String()), " ")), err
}

func writeComments(to *bytes.Buffer, src []byte) {
	set := token.NewFileSet()
	var s scanner.Scanner
	s.Init(set.AddFile("", set.Base(), len(src)), src, nil, scanner.ScanComments)
	for {
		_, tok, text := s.Scan()
		if tok == token.EOF {
			return
		}
		if tok == token.COMMENT {
			to.WriteString(strings.TrimLeft(text, "/*"))
			to.WriteByte('\n')
		}
	}
}
