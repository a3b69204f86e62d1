package ui

import "net/http"

// Patterns lists the addresses of the console, as a mux has them.
func Patterns() []string {
	var p patterns
	new(console).routes(&p)
	return p
}

type patterns []string

func (p *patterns) Handle(pattern string, _ http.Handler) { *p = append(*p, pattern) }

func (p *patterns) HandleFunc(pattern string, _ func(http.ResponseWriter, *http.Request)) {
	*p = append(*p, pattern)
}

// OpenPages lists the pages that are open to limited sessions.
func OpenPages() (paths []string) {
	for _, p := range new(console).pages() {
		if p.reach != 0 {
			paths = append(paths, p.path)
		}
	}
	return paths
}
