package wire

import "gaff/internal/search"

// SearchHit is something that a search found.
type SearchHit struct {
	Kind  string `json:"kind" enum:"event,delivery,rejection,job,media,run,project,source,destination,workflow"`
	ID    string `json:"id" doc:"Its id, or its name if it is configured." example:"job_7Q8R5T7W9XYZABCD01KAVJ0Z6M"`
	Title string `json:"title" doc:"The prompt of a job, the source and type of an event, the name of a project."`
	About string `json:"about" doc:"More, for people; may be empty."`
	At    Time   `json:"at" doc:"When it began; null for sources, destinations and workflows."`
}

// NewSearchHit makes the document of a hit.
func NewSearchHit(h search.Hit) SearchHit {
	return SearchHit{h.Kind, h.ID, h.Title, h.About, Time{h.At}}
}
