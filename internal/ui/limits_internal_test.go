package ui

import (
	"strings"
	"testing"
	"time"
)

func TestHealthPageShowsTheUseOfLimits(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	v := healthView{Ready: true, Now: time.Now(), Limits: []limitUse{
		{Scope: "project", Name: "film <1>", Concurrency: 4, UnderWay: 4, Waiting: 12, Full: true}, {Scope: "user", Name: "anna", Rate: 0.5},
	}}
	if err := healthPage(v).Render(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Limits of jobs", `href="/jobs?projectId=film+%3C1%3E&amp;status=unfinished"`, "film &lt;1&gt;", `<td class="num">12</td>`, "full",
		`href="/jobs?status=unfinished&amp;userId=anna"`, `<td class="num">0.5</td>`, "room",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page has no %s", want)
		}
	}
	b.Reset()
	if err := healthPage(healthView{Ready: true}).Render(t.Context(), &b); err != nil || strings.Contains(b.String(), "Limits of jobs") {
		t.Errorf("without limits the page has a section for them (%v)", err)
	}
}
