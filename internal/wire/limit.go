package wire

import (
	"time"

	"gaff/jobs"
)

// LimitUse is how much of a limit is in use, on all nodes.
type LimitUse struct {
	Scope       string  `json:"scope" enum:"provider,model,project,user"`
	Name        string  `json:"name"`
	Concurrency int     `json:"concurrency" doc:"How many jobs may be under way; 0 for no bound."`
	Rate        float64 `json:"rate" doc:"How many submits a second; 0 for no bound."`
	UnderWay    int     `json:"underWay" doc:"Jobs that count for the concurrency; 0 if that has no bound."`
	Waiting     int     `json:"waiting" doc:"Jobs that wait to be submitted, for this or another limit, or for their turn."`
	Full        bool    `json:"full" doc:"It has no room now."`
	NextAt      Time    `json:"nextAt" doc:"When the rate allows the next submit; null for now."`
}

// Limits lists the use of limits.
type Limits struct {
	Docs []LimitUse `json:"docs" nullable:"false"`
}

// NewLimits makes the document of the use of limits.
func NewLimits(list []jobs.LimitUse, now time.Time) Limits {
	out := Limits{Docs: []LimitUse{}}
	for _, u := range list {
		doc := LimitUse{Scope: u.Scope, Name: u.Name, Concurrency: u.Concurrency, Rate: u.Rate, UnderWay: u.UnderWay, Waiting: u.Waiting, Full: u.Full(now)}
		if u.Next.After(now) && u.Rate > 0 {
			doc.NextAt = Time{u.Next}
		}
		out.Docs = append(out.Docs, doc)
	}
	return out
}
