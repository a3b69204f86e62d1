package destination

import (
	"encoding/json"
	"slices"
	"testing"

	"gaff"
)

func TestJobIDs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source, data string
		want         []string
	}{
		"an inner event":             {gaff.InternalSource, `{"jobId":"job_1","metadata":{"job_id":"other"}}`, []string{"job_1"}},
		"a sender's event":           {"shop", `{"jobId":"other","metadata":{"job_id":"job_1"}}`, []string{"job_1"}},
		"the original first":         {"shop", `{"metadata":{"job_id":"job_2","original_job_id":"job_1"}}`, []string{"job_1", "job_2"}},
		"escaped":                    {"shop", `{"meta\u0064ata":{"job_id":"job\u005f1"}}`, []string{"job_1"}},
		"a number as id":             {"shop", `{"metadata":{"job_id":7,"original_job_id":null}}`, nil},
		"other case":                 {"shop", `{"Metadata":{"Job_ID":"job_1"}}`, []string{"job_1"}},
		"more than a document":       {"shop", `{"metadata":{"job_id":"job_1"}} {}`, nil},
		"an empty id":                {"shop", `{"metadata":{"job_id":""}}`, nil},
		"metadata that are a text":   {"shop", `{"metadata":"job_id"}`, nil},
		"a document of another kind": {"shop", `["metadata"]`, nil},
		"no document":                {"shop", ``, nil},
	} {
		if got := jobIDs(&gaff.Event{Source: c.source, Data: json.RawMessage(c.data)}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
