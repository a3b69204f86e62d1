package ui

import (
	"fmt"
	"time"

	"github.com/a-h/templ"

	"gaff/workflow/runs"
)

// Dimensions of the graph, in pixels.
const (
	nodeWide, nodeHigh = 172, 58
	gapWide, gapHigh   = 36, 18
	graphEdge          = 6
)

// node is a step with its position in the graph.
type node struct {
	runStep
	X, Y int
	Path templ.SafeURL // of the step's page; empty if it has not started
	Note string
}

// shareDone returns the width of the bar of completed items.
func (n node) shareDone() int {
	if len(n.Items) == 0 {
		return 0
	}
	return (nodeWide - 20) * n.done() / len(n.Items)
}

type graphView struct {
	Wide, High int
	Nodes      []node
	Edges      []string // paths
}

// graph lays steps out in columns: each step is right of the steps it needs.
func graph(steps []runStep, now time.Time, path func(step string) templ.SafeURL) graphView {
	column := map[string]int{}
	byName := map[string]*runStep{}
	for i := range steps {
		byName[steps[i].Name] = &steps[i]
	}
	var columnOf func(name string, depth int) int
	columnOf = func(name string, depth int) int {
		if n, ok := column[name]; ok || depth > len(steps) {
			return n
		}
		n := 0
		if s := byName[name]; s != nil {
			for _, need := range s.Needs {
				if byName[need] != nil {
					n = max(n, columnOf(need, depth+1)+1)
				}
			}
		}
		column[name] = n
		return n
	}
	var g graphView
	rows := map[int]int{}
	at := map[string]node{}
	for _, s := range steps {
		x := columnOf(s.Name, 0)
		n := node{runStep: s, X: graphEdge + x*(nodeWide+gapWide), Y: graphEdge + rows[x]*(nodeHigh+gapHigh), Note: s.note(now)}
		if path != nil && s.begun() {
			n.Path = path(s.Name)
		}
		rows[x]++
		g.Wide, g.High = max(g.Wide, n.X+nodeWide+graphEdge), max(g.High, n.Y+nodeHigh+graphEdge)
		g.Nodes = append(g.Nodes, n)
		at[s.Name] = n
	}
	for _, n := range g.Nodes {
		for _, need := range n.Needs {
			from, ok := at[need]
			if !ok {
				continue
			}
			x1, y1, x2, y2 := from.X+nodeWide, from.Y+nodeHigh/2, n.X, n.Y+nodeHigh/2
			mid := gapWide / 2
			g.Edges = append(g.Edges, fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+mid, y1, x2-mid, y2, x2, y2))
		}
	}
	return g
}

// stepKind returns the CSS class of a status.
func stepKind(s runs.StepStatus) string {
	switch s {
	case runs.StepCompleted:
		return "ok"
	case runs.StepFailed:
		return "bad"
	case runs.StepRetrying:
		return "warn"
	case runs.StepQueued, runs.StepRunning, runs.StepWaiting:
		return "wait"
	case runs.StepPending, runs.StepSkipped, runs.StepCancelled:
	}
	return "none"
}

func runKind(s runs.Status) string {
	return [...]string{"wait", "ok", "bad", "none"}[min(max(int(s), 0), 3)]
}
