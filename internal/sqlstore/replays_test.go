package sqlstore

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"gaff"
)

// A page of a replay costs the same at any length of the log.
func TestPageOfAReplayReadsARangeOfEvents(t *testing.T) {
	t.Parallel()
	s := openOwn(t, Options{})
	defer s.Close()
	text, args := replayPage(gaff.ReplayQuery{
		Source: "fal", Type: "paid", Since: time.Unix(1, 0), Missing: "crm", After: 100, Limit: 25,
	}, 2100)
	steps, err := collect(t.Context(), s.read, func(rows *sql.Rows) (step string, err error) {
		var id, parent, unused int64
		err = rows.Scan(&id, &parent, &unused, &step)
		return step, err
	}, `explain query plan `+text, args...)
	if err != nil {
		t.Fatal(err)
	}
	const want = "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
	if plan := strings.Join(steps, "\n"); steps[0] != want || strings.Contains(plan, "ORDER BY") || strings.Contains(plan, "SCAN") {
		t.Errorf("the plan is\n%s\nwant it to begin with %q, without sorting or scans", plan, want)
	}
}
