package sqlstore

import (
	"context"
	"fmt"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
)

// ImportLogs stores events of the past with their outcomes.
func (s *Store) ImportLogs(ctx context.Context, logs []gaff.Log) (added int, err error) {
	rows, size := make([]eventRow, len(logs)), 0
	for i := range logs {
		rows[i] = newEventRow(&logs[i].Event)
		size += rows[i].size()
	}
	err = s.w.Do(ctx, &op{Bytes: size, Run: func(t *tx) error {
		added = 0
		for i := range logs {
			ok, err := t.importLog(&logs[i], rows[i])
			if err != nil {
				return err
			}
			if ok {
				added++
			}
		}
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return added, nil
}

func (t *tx) importLog(l *gaff.Log, row eventRow) (added bool, err error) {
	seq, _, err := t.eventByKey(l.Source, l.DedupeKey)
	if seq != 0 || err != nil {
		return false, err
	}
	var rc gaff.Receipt
	t.accept(row, nil, nil, &rc)
	if err := t.acceptAll(); err != nil { // so that it has its number
		return false, err
	}
	seq, _ = id.ParseEvent(rc.ID)
	_, err = t.exec(`update event set status = $2, unhandled = 0, error = $3, retry_count = $4, processed_at = $5 where seq = $1`,
		seq, int64(l.Status), excerpt.Text(l.Error, maxErrorText), int64(l.RetryCount), nullMicros(l.ProcessedAt))
	if err != nil {
		return false, fmt.Errorf("import a log: %w", err)
	}
	t.countMoved(l.Source, gaff.StatusSuccess, l.Status)
	return true, nil
}
