package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"gaff"
	"gaff/internal/excerpt"
)

// JobStored is the type of the internal event that follows the completion of a job with files: no
// copy of them is to be made any more. Its data is a [JobCopies].
const JobStored = "job.stored"

// JobCopies is the data of the internal event [JobStored].
type JobCopies struct {
	JobID     string `json:"jobId"`
	Provider  string `json:"provider"`
	ProjectID string `json:"projectId"`
	UserID    string `json:"userId"`
	Kind      string `json:"kind"`
	// Files is the number of the job's files, Stored of those that have a copy.
	Files  int `json:"files"`
	Stored int `json:"stored"`
	// Failed are the files without a copy.
	Failed []FailedCopy `json:"failed"`
}

// FailedCopy is a file of which no copy could be made.
type FailedCopy struct {
	MediaID  string `json:"mediaId"`
	Position string `json:"position"`
	// Storage is "gone", "failed" or "none".
	Storage string `json:"storage"`
	Error   string `json:"error"`
}

// maxCopyError bounds the error of one file in a [JobCopies], in bytes.
const maxCopyError = 200

// NoteCopy emits [JobStored] if the end of the copy of a file was the last one of a completed job.
// A transaction that ends a copy calls LockJob first and NoteCopy last.
func NoteCopy(ctx context.Context, tx Tx, router Router, cause *gaff.Event, j *Job) error {
	if j == nil || j.Status != JobCompleted {
		return nil
	}
	if pending, err := tx.CopiesPending(ctx, j.ID); err != nil || pending {
		return err
	}
	files, err := tx.JobMedia(ctx, j.ID)
	if err != nil {
		return err
	}
	doc := JobCopies{
		JobID: j.ID, Provider: j.Provider, ProjectID: j.ProjectID, UserID: j.UserID, Kind: j.Kind, Files: len(files), Failed: []FailedCopy{},
	}
	for _, m := range files {
		if m.Storage == StorageStored {
			doc.Stored++
			continue
		}
		doc.Failed = append(doc.Failed, FailedCopy{m.ID, m.Position, m.Storage.String(), excerpt.Text(m.StorageError, maxCopyError)})
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("describe the files of job %s: %w", j.ID, err)
	}
	ev := &gaff.Event{
		Source: gaff.InternalSource, Type: JobStored, DedupeKey: "job:" + j.ID + ":stored", CorrelationID: j.ID, ReceivedAt: tx.Now(), Data: data,
	}
	if cause != nil {
		ev.ParentID, ev.Hop = cause.ID, cause.Hop+1
	}
	return tx.Emit(ctx, ev, router.Route(ev))
}

// LockJob returns the job of a file, locked until the end of the transaction, so that of two copies
// that end at the same time the second one sees the first; nil if the job was removed.
func LockJob(ctx context.Context, tx Tx, m *Media) (*Job, error) {
	j, err := tx.Job(ctx, m.JobID)
	if errors.Is(err, gaff.ErrNotFound) {
		return nil, nil
	}
	return j, err
}
