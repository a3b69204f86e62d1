package storetest

import (
	"fmt"
	"time"

	"gaff"
)

// imported returns logs of another system; the n-th has n retries.
func (s *suite) imported(first, n int) (logs []gaff.Log) {
	for i := first; i < first+n; i++ {
		l := gaff.Log{Event: *s.event(), Status: gaff.Status(i % 3), RetryCount: i, ProcessedAt: s.now.Add(time.Duration(i) * time.Hour).Truncate(time.Microsecond)}
		l.DedupeKey, l.Verification = fmt.Sprint("import:", i), gaff.Verification{Scheme: gaff.ImportedScheme}
		if l.Status == gaff.StatusError {
			l.Error = "it failed there"
		}
		logs = append(logs, l)
	}
	return logs
}

// Imported logs have their outcomes, are stored once, and are processed by nothing.
func testImportLogs(s *suite) {
	for _, n := range []int{6, 6, 9} {
		_, err := s.st.ImportLogs(s.ctx, s.imported(0, n))
		s.must(err)
	}
	added, err := s.st.ImportLogs(s.ctx, append(s.imported(9, 1), s.imported(9, 1)...))
	s.must(err)
	s.equal("the same one twice", added, 1)
	s.equal("claimed", len(s.claim(10)), 0)
	failed := gaff.StatusError
	logs, total, err := s.st.Logs(s.ctx, gaff.LogQuery{Status: &failed, Limit: 10})
	s.must(err)
	s.equal("failed ones", total, 3)
	for i, l := range logs {
		want := 8 - 3*i
		s.equal("a failed one", []any{l.RetryCount, l.Error, l.ProcessedAt.Equal(s.now.Add(time.Duration(want) * time.Hour)), l.Unhandled, len(s.detail(l.ID).Deliveries)},
			[]any{want, "it failed there", true, false, 0})
	}
	counts, err := s.st.Counts(s.ctx, time.Time{})
	s.must(err)
	s.equal("counts", []int64{counts.Sources[0].Pending, counts.Sources[0].Success, counts.Sources[0].Error}, []int64{4, 3, 3})
	_, _, err = s.st.Retry(s.ctx, gaff.RetryParams{EventID: logs[0].ID, Tries: 1, Now: time.Now()})
	s.wants("a retry", err, gaff.ErrConflict)
}
