package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// ReuseRule says that results of jobs answer equal submits of the same project and user.
type ReuseRule struct {
	// Within is how old a result may be.
	Within time.Duration
	// WithoutSeed allows it for inputs without a seed, whose results differ each time.
	WithoutSeed bool
}

// reusable is the part of a submission that decides whether another job's result answers it.
type reusable struct {
	key    string // empty: no result is reused
	within time.Duration
}

// reusable returns the reuse key of a submission: a hash of what its result depends on, and of the
// project and the user, so that nobody gets the result of another one. It is that of the first
// candidate.
func (l *Service) reusable(s *Submission, plan *Plan) (none reusable) {
	if l.o.Reuse == nil {
		return none
	}
	rule, ok := l.o.Reuse(s.Provider, s.Model, s.ProjectID)
	if !ok {
		return none
	}
	var c Candidate
	if plan != nil {
		c = plan.Candidates[0]
	}
	input, err := l.mapped(c, s.Input)
	if err != nil {
		return none
	}
	text, seeded, err := canonical(input)
	if err != nil || !seeded && !rule.WithoutSeed {
		return none
	}
	head, err := json.Marshal([]string{s.Provider, s.Model, s.ProjectID, s.UserID, c.Result})
	if err != nil {
		return none
	}
	hash := sha256.New()
	hash.Write(append(head, '\n'))
	hash.Write(text)
	return reusable{hex.EncodeToString(hash.Sum(nil)), rule.Within}
}

// reuse answers a new job with the result of an earlier one that holds: the job is stored as completed,
// and costs nothing. Without such a result it returns no job, and the result of the new job may answer
// later ones.
func (l *Service) reuse(ctx context.Context, tx Tx, j *Job, plan *Plan, s Submission) (_ *Job, created bool, err error) {
	key := s.prepared.reuse.key
	if key == "" {
		return nil, false, nil
	}
	j.ReuseKey = key
	if s.NoReuse {
		return nil, false, nil
	}
	found, err := tx.ReusableJobs(ctx, key, tx.Now().Add(-s.prepared.reuse.within))
	if err != nil {
		return nil, false, err
	}
	for _, from := range found {
		files, err := tx.JobMedia(ctx, from.ID)
		if err != nil {
			return nil, false, err
		}
		if len(from.Result) > 0 && !slices.ContainsFunc(files, func(m Media) bool { return !holds(tx.Now(), &m) }) {
			return l.answerWith(ctx, tx, j, plan, s, from, files)
		}
	}
	return nil, false, nil
}

// ReuseEntry is LogEntry.What of the entry that names the job whose result a job has.
const ReuseEntry = "reuse"

// ErasedSource replaces ReuseSource in that entry when the named job is erased.
const ErasedSource = "an erased job had"

// ReuseSource is the part of that entry's text that names the job.
func ReuseSource(jobID string) string { return "job " + jobID + " has" }

// answerWith stores a job that ends at once with the result of another one.
func (l *Service) answerWith(ctx context.Context, tx Tx, j *Job, plan *Plan, s Submission, from *Job, files []Media) (_ *Job, created bool, err error) {
	j.ReuseKey, j.ReusedFrom, j.WebhookURL, j.Account, j.Cost = "", from.ID, "", "", "0"
	l.save(j, from)
	if plan != nil {
		j.Attempt = 1
	}
	if j, created, err = l.add(ctx, tx, j, plan, s); err != nil || !created {
		return j, false, err
	}
	text := "nothing was submitted: " + ReuseSource(from.ID) + " the result of this input"
	if j.Saved > 0 {
		text += fmt.Sprintf(", and cost %s %s", j.Saved, j.Charge.Currency)
	}
	if err := tx.AddLogEntry(ctx, j.ID, ReuseEntry, text); err != nil {
		return nil, false, err
	}
	u := Update{Provider: j.Provider, Status: JobCompleted, Result: from.Result}
	for _, m := range files {
		u.Files = append(u.Files, Media{
			Position: m.Position, URL: m.URL, MediaType: m.MediaType, ContentType: m.ContentType, Size: m.Size, SHA256: m.SHA256,
			StoredKey: m.StoredKey, ThumbnailKey: m.ThumbnailKey, Metadata: m.Metadata,
		})
	}
	if _, err := (change{job: j, stored: true, update: u, by: SettledByReuse}).apply(ctx, tx, l.o.Router); err != nil {
		return nil, false, err
	}
	return j, true, nil
}

// save sets what a job saves that has the result of another one: what that cost, else the estimate.
func (l *Service) save(j, from *Job) {
	cost := from.Charge
	if cost.State == ChargeNone {
		estimate := Job{Provider: j.Provider, Model: j.Model}
		l.reserve(&estimate)
		cost = estimate.Charge
	}
	j.Charge = Charge{}
	if cost.State != ChargeNone {
		j.Saved, j.Charge = cost.Amount, Charge{0, cost.Currency, ChargeBilled}
	}
}

// holds reports whether a file is there as it was: its copy is stored, or no copies are made, and its
// link at the provider has not expired as far as the link says.
func holds(now time.Time, m *Media) bool {
	if m.Storage != StorageStored && m.Storage != StorageNone {
		return false
	}
	until, ok := linkExpires(m.URL)
	return !ok || now.Add(time.Minute).Before(until)
}

// linkExpires returns when a signed link expires, by the parameters of S3, Google Cloud Storage, Azure
// and CloudFront; ok is false if the link does not say.
func linkExpires(link string) (at time.Time, ok bool) {
	u, err := url.Parse(link)
	if err != nil {
		return at, false
	}
	q := u.Query()
	for _, prefix := range []string{"X-Amz-", "X-Goog-"} {
		from, err := time.Parse("20060102T150405Z", q.Get(prefix+"Date"))
		seconds, secondsErr := strconv.ParseInt(q.Get(prefix+"Expires"), 10, 32)
		if err == nil && secondsErr == nil {
			return from.Add(time.Duration(seconds) * time.Second), true
		}
	}
	if at, err = time.Parse(time.RFC3339, q.Get("se")); err == nil {
		return at, true
	}
	if seconds, err := strconv.ParseInt(q.Get("Expires"), 10, 64); err == nil && seconds > 0 {
		return time.Unix(seconds, 0), true
	}
	return time.Time{}, false
}
