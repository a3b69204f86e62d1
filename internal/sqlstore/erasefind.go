package sqlstore

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"gaff"
	"gaff/internal/erase"
	"gaff/internal/id"
	"gaff/jobs"
	"gaff/workflow/runs"
)

// erasurePage is how many rows a query of an erasure reads.
const erasurePage = 500

// erasure collects the rows that belong to a target. It reads with the readers' connections, page
// by page, so that no webhook waits.
type erasure struct {
	s         *Store
	t         erase.Target
	match     *erase.Matcher // nil for an event or a job
	pseudonym string

	found      erase.Found
	jobs       map[string]bool
	reusers    map[string]bool    // jobs that stay, and have the result of one of the jobs
	requests   map[[2]string]bool // provider and request of the jobs
	runs       map[string]int64   // their numbers, by id
	events     map[int64]bool
	eventIDs   map[string]bool
	whole      map[int64]bool // events that stay; the request that they came in names the target
	scanned    int64          // the number of the last examined event
	rejections []int64
	scheduled  []int64
	named      [][]any // keys of rows that stay and name the target, by their place in naming
}

// eraseKeySetting is the name of the key of the hashes and pseudonyms of erased ids.
const eraseKeySetting = "erasure_key"

func (s *Store) eraseKey(ctx context.Context) ([]byte, error) {
	text, err := s.Setting(ctx, eraseKeySetting, rand.Text()+rand.Text())
	return []byte(text), err
}

// eraseHash is stored for an erased id: with it an id can be checked, but the erased ids cannot be
// listed.
func eraseHash(key []byte, parts ...string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(mac.Sum(nil))
}

func (s *Store) newErasure(ctx context.Context, t erase.Target) (*erasure, error) {
	key, err := s.eraseKey(ctx)
	if err != nil {
		return nil, err
	}
	e := &erasure{
		s: s, t: t, jobs: map[string]bool{}, reusers: map[string]bool{}, requests: map[[2]string]bool{}, runs: map[string]int64{}, events: map[int64]bool{},
		eventIDs: map[string]bool{}, whole: map[int64]bool{},
	}
	e.t.ID = plain(t.ID)
	e.pseudonym = string(t.Kind) + "-" + eraseHash(key, string(t.Kind), e.t.ID)[:16]
	if t.Kind == erase.User || t.Kind == erase.Project {
		e.match = erase.NewMatcher(e.t)
	}
	e.found.Pseudonym = e.pseudonym
	return e, nil
}

// FindErasable finds what belongs to a target.
func (s *Store) FindErasable(ctx context.Context, t erase.Target) (*erase.Found, error) {
	e, err := s.newErasure(ctx, t)
	if err == nil && t.Kind == erase.Media {
		_, err = s.MediaByID(ctx, e.t.ID)
		e.found.Media = 1
	} else if err == nil {
		err = e.find(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &e.found, nil
}

func (e *erasure) find(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		e.findRuns, e.findJobs, e.findReusers, e.findEvents, e.findScheduled, e.countMedia, e.findRejections, e.findNaming, e.findProject,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	e.found.Events, e.found.Jobs, e.found.Runs = int64(len(e.events)+len(e.scheduled)), int64(len(e.jobs)), int64(len(e.runs))
	e.found.Rejections = int64(len(e.rejections))
	e.found.Records = int64(len(e.whole) + len(e.reusers))
	for _, keys := range e.named {
		e.found.Records += int64(len(keys))
	}
	return nil
}

// pages calls scan for the rows of a query whose first parameter is the number to continue after,
// and the second the number of rows. scan returns the row's number.
func (e *erasure) pages(ctx context.Context, what string, scan func(*sql.Rows) (int64, error), text string, args ...any) error {
	for after := int64(0); ; {
		n := 0
		err := e.read(ctx, what, func(ctx context.Context) error {
			all, err := collect(ctx, e.s.read, scan, text, append([]any{after, erasurePage}, args...)...)
			if n = len(all); n > 0 {
				after = all[n-1]
			}
			return err
		})
		if err != nil || n < erasurePage {
			return err
		}
	}
}

// read bounds the time of one read.
func (e *erasure) read(ctx context.Context, what string, fn func(context.Context) error) error {
	ctx, cancel := e.s.reading(ctx)
	defer cancel()
	return e.s.fault(ctx, "erase: "+what, fn(ctx))
}

func (e *erasure) findRuns(ctx context.Context) error {
	var condition string
	switch e.t.Kind {
	case erase.Project:
		condition = `r.project_id = $3 and r.project_id <> ''`
	case erase.User:
		condition = `r.user_id = $3`
	default:
		return nil
	}
	return e.pages(ctx, "runs", func(rows *sql.Rows) (seq int64, err error) {
		var runID string
		var status runs.Status
		if err := rows.Scan(&seq, &runID, &status); err != nil {
			return 0, err
		}
		e.runs[runID] = seq
		if !status.Settled() {
			e.found.OpenRuns = append(e.found.OpenRuns, runID)
		}
		return seq, nil
	}, `select r.seq, r.id, r.status from run r where r.seq > $1 and `+condition+` order by r.seq limit $2`, e.t.ID)
}

// findJobs finds the jobs of the target, and those of its runs. Jobs without a user or a project
// count if their metadata, input or result names the target.
func (e *erasure) findJobs(ctx context.Context) error {
	const text = `select j.seq, j.id, j.provider, j.request_id, j.status, j.user_id, j.project_id, j.run_id, `
	scan := func(body bool) func(*sql.Rows) (int64, error) {
		return func(rows *sql.Rows) (seq int64, err error) {
			var jobID, provider, request, user, project, run string
			var status jobs.JobStatus
			texts := make([][]byte, 4)
			to := []any{&seq, &jobID, &provider, &request, &status, &user, &project, &run, &texts[0], &texts[1], &texts[2], &texts[3]}
			if err := rows.Scan(to...); err != nil {
				return 0, err
			}
			_, ofRun := e.runs[run]
			owner := user
			if e.t.Kind == erase.Project {
				owner = project
			}
			ours := !body || owner == e.t.ID || ofRun
			for _, text := range texts { // of jobs whose owner is unknown
				ours = ours || owner == "" && e.match.In(text)
			}
			if ours {
				e.jobs[jobID] = true
				if request != "" {
					e.requests[[2]string{provider, request}] = true
				}
				if !status.Settled() {
					e.found.OpenJobs = append(e.found.OpenJobs, jobID)
				}
			}
			return seq, nil
		}
	}
	switch e.t.Kind {
	case erase.Job:
		err := e.read(ctx, "job", func(ctx context.Context) error {
			found, err := collect(ctx, e.s.read, scan(false), text+`null, null, null, null from job j where j.id = $1`, e.t.ID)
			if err == nil && len(found) == 0 {
				err = missing("job", e.t.ID)
			}
			return err
		})
		if err != nil {
			return err
		}
		return e.findOpenRunOfJob(ctx)
	case erase.User, erase.Project:
		return e.pages(ctx, "jobs", scan(true), text+`j.metadata, i.input, j.result, cast(j.callback as `+e.bytes()+`)
			from job j left join job_input i on i.job_id = j.id where j.seq > $1 order by j.seq limit $2`)
	case erase.Event, erase.Media:
	}
	return nil
}

// findReusers finds the jobs that stay, and have the result of one of the jobs.
func (e *erasure) findReusers(ctx context.Context) error {
	for jobID := range e.jobs {
		err := e.read(ctx, "reused results", func(ctx context.Context) error {
			ids, err := column[string](ctx, e.s.read, `select id from job where reused_from = $1 and reused_from <> ''`, jobID)
			for _, reuser := range ids {
				if !e.jobs[reuser] {
					e.reusers[reuser] = true
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bytes is the database's type of a blob.
func (e *erasure) bytes() string {
	if e.s.opt.Dialect.Name == "sqlite" {
		return "blob"
	}
	return "bytea"
}

// findOpenRunOfJob finds the unsettled run whose later steps may need the job's result.
func (e *erasure) findOpenRunOfJob(ctx context.Context) error {
	return e.read(ctx, "run of the job", func(ctx context.Context) (err error) {
		e.found.OpenRuns, err = column[string](ctx, e.s.read, `select distinct r.id from run_step s join run r on r.seq = s.run
			where s.job_id = $1 and s.job_id <> '' and r.status = 0`, e.t.ID)
		return err
	})
}

// findEvents finds the events after the last examined one: those of the jobs and runs, those whose
// request, body or errors name the target, and what gaff emitted because of them.
func (e *erasure) findEvents(ctx context.Context) error {
	if e.t.Kind == erase.Event {
		seq, ok := id.ParseEvent(e.t.ID)
		if !ok {
			return missing("event", e.t.ID)
		}
		err := e.read(ctx, "event", func(ctx context.Context) error {
			at, err := column[int64](ctx, e.s.read, `select received_at from event where seq = $1`, seq)
			if err == nil && (len(at) == 0 || id.OfEvent(fromMicros(at[0]), seq) != e.t.ID) {
				err = missing("event", e.t.ID)
			}
			return err
		})
		if err != nil {
			return err
		}
		e.events[seq], e.eventIDs[e.t.ID] = true, true
		return e.findChildren(ctx)
	}
	if e.match == nil && len(e.jobs)+len(e.runs) == 0 {
		return nil
	}
	for {
		first, n := e.scanned, 0
		err := e.read(ctx, "events", func(ctx context.Context) (err error) {
			n, err = e.examineEvents(ctx)
			if err == nil && n > 0 && e.match != nil {
				err = e.examineAttempts(ctx, first, e.scanned)
			}
			return err
		})
		if err != nil {
			return err
		}
		if n < erasurePage {
			break
		}
	}
	return e.findChildren(ctx)
}

// examineEvents examines a page of events.
func (e *erasure) examineEvents(ctx context.Context) (n int, err error) {
	text := `select e.seq, e.received_at, e.source, e.type, e.correlation, e.handle, e.parent_id, `
	if e.match != nil {
		text += `e.webhook_id, e.dedupe, e.error, p.request, p.body, p.data from event e left join payload p on p.seq = e.seq`
	} else {
		text += `'', '', '', null, null, null from event e`
	}
	rows, err := e.s.read.QueryContext(ctx, text+` where e.seq > $1 order by e.seq limit $2`, e.scanned, erasurePage)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq, received int64
		var source, eventType, correlation, handle, parent, webhookID, dedupe, fault string
		var request, body, data sql.RawBytes
		if err := rows.Scan(&seq, &received, &source, &eventType, &correlation, &handle, &parent, &webhookID, &dedupe, &fault, &request, &body, &data); err != nil {
			return n, err
		}
		n++
		e.scanned = seq
		ours := e.linked(source, correlation, handle)
		if ours && source == gaff.InternalSource && strings.HasPrefix(eventType, "job.") && parent != "" {
			if seq, ok := id.ParseEvent(parent); ok { // the webhook that changed the job
				e.events[seq], e.eventIDs[parent] = true, true
			}
		}
		if !ours && e.match != nil {
			ours = e.match.InText(webhookID) || e.match.InText(dedupe) || e.match.InText(fault) || e.match.InText(correlation)
			shown := data
			if data == nil {
				shown = body
			}
			ours = ours || e.match.In(shown)
			ours = ours || e.match.In(request) || e.ofProject(source, request)
			if !ours && data != nil && e.match.In(body) {
				e.whole[seq] = true // of a batch, the first event has the whole request
			}
		}
		if ours {
			e.events[seq], e.eventIDs[id.OfEvent(fromMicros(received), seq)] = true, true
		}
	}
	return n, rows.Err()
}

// linked reports whether an event belongs to one of the jobs or runs.
func (e *erasure) linked(source, correlation, token string) bool {
	if correlation != "" {
		_, ofRun := e.runs[correlation]
		if ofRun || e.jobs[correlation] || e.requests[[2]string{source, correlation}] {
			return true
		}
	}
	name, _, ok := strings.Cut(token, ".")
	if encoded, is := strings.CutPrefix(name, "~"); is {
		plain, _ := base64.RawURLEncoding.DecodeString(encoded)
		name = string(plain)
	}
	return ok && e.jobs[name]
}

// examineAttempts examines what the deliveries of a page of events say.
func (e *erasure) examineAttempts(ctx context.Context, after, last int64) error {
	for _, text := range []string{
		`select seq, okey, error from delivery where seq > $1 and seq <= $2 and (okey <> '' or error <> '')`,
		`select seq, error, detail from attempt where seq > $1 and seq <= $2 and (error <> '' or detail <> '')`,
		`select seq, headers, body from copy where seq > $1 and seq <= $2`,
	} {
		_, err := collect(ctx, e.s.read, func(rows *sql.Rows) (none struct{}, err error) {
			var seq int64
			var a, b sql.RawBytes
			if err := rows.Scan(&seq, &a, &b); err != nil {
				return none, err
			}
			if !e.events[seq] && (e.match.In(a) || e.match.In(b)) {
				e.events[seq] = true
				delete(e.whole, seq)
			}
			return none, nil
		}, text, after, last)
		if err != nil {
			return err
		}
	}
	return nil
}

// findChildren adds the internal events that found ones caused.
func (e *erasure) findChildren(ctx context.Context) error {
	pending := make([]string, 0, len(e.eventIDs))
	for eventID := range e.eventIDs {
		pending = append(pending, eventID)
	}
	for len(pending) > 0 {
		parent := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		err := e.read(ctx, "events", func(ctx context.Context) error {
			_, err := collect(ctx, e.s.read, func(rows *sql.Rows) (none struct{}, err error) {
				var seq, received int64
				if err := rows.Scan(&seq, &received); err != nil {
					return none, err
				}
				if !e.events[seq] {
					child := id.OfEvent(fromMicros(received), seq)
					e.events[seq], e.eventIDs[child] = true, true
					pending = append(pending, child)
				}
				return none, nil
			}, `select seq, received_at from event where parent_id = $1 and parent_id <> '' and source = $2`, parent, gaff.InternalSource)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *erasure) countMedia(ctx context.Context) error {
	for jobID := range e.jobs {
		if err := e.addCount(ctx, &e.found.Media, `select count(*) from media where job_id = $1`, jobID); err != nil {
			return err
		}
	}
	if e.t.Kind == erase.Project {
		return e.addCount(ctx, &e.found.Media, `select count(*) from media m where m.project_id = $1 and m.project_id <> ''
			and not exists (select 1 from job j where j.id = m.job_id)`, e.t.ID)
	}
	return nil
}

func (e *erasure) addCount(ctx context.Context, to *int64, text string, args ...any) error {
	return e.read(ctx, "count", func(ctx context.Context) error {
		n, err := column[int64](ctx, e.s.read, text, args...)
		if err == nil {
			*to += n[0]
		}
		return err
	})
}

func (e *erasure) findRejections(ctx context.Context) error {
	if e.match == nil {
		return nil
	}
	return e.pages(ctx, "rejections", func(rows *sql.Rows) (seq int64, err error) {
		var address, reason string
		texts := make([]sql.RawBytes, 4)
		if err := rows.Scan(&seq, &address, &reason, &texts[0], &texts[1], &texts[2], &texts[3]); err != nil {
			return 0, err
		}
		ours := e.match.InText(address) || e.match.InText(reason)
		for _, text := range texts {
			ours = ours || e.match.In(text)
		}
		if ours {
			e.rejections = append(e.rejections, seq)
		}
		return seq, nil
	}, `select r.seq, r.url, r.reason, r.headers, r.body, q.request, q.body
		from rejection r left join quarantine q on q.rejection_id = r.id where r.seq > $1 order by r.seq limit $2`)
}

// namingTable is a table whose rows stay, and may name a user or a project.
type namingTable struct {
	table, key   string
	exact        string // SQL of a text that is the whole id, if the row names the target; may be empty
	texts, blobs []string
	// bounded is set if the table is small.
	bounded bool
}

var naming = []namingTable{
	{table: "audit", key: "seq", exact: "case when action like '%project%' then target else '' end", texts: []string{"target"}, blobs: []string{"detail"}},
	{table: "project", key: "seq", exact: "owner", texts: []string{"name", "owner"}, blobs: []string{"metadata"}},
	{table: "change", key: "seq", blobs: []string{"items"}},
	{table: "issue", key: "id", texts: []string{"error"}, bounded: true},
	{table: "alert", key: "kind || '/' || cause", texts: []string{"title"}, blobs: []string{"data"}, bounded: true},
}

// naming is the matcher for these rows: they may name jobs and runs, whose ids may contain that of
// the target.
func (e *erasure) naming() *erase.Matcher {
	return e.match.With(e.t.ID, slices.Concat(slices.Collect(maps.Keys(e.jobs)), slices.Collect(maps.Keys(e.runs))))
}

func (r namingTable) columns() []string { return append(slices.Clone(r.texts), r.blobs...) }

// findNaming finds the rows that stay and name the target.
func (e *erasure) findNaming(ctx context.Context) error {
	e.named = make([][]any, len(naming))
	if e.match == nil {
		return nil
	}
	match := e.naming()
	for i, r := range naming {
		scan := func(rows *sql.Rows) (seq int64, err error) {
			var key any
			var exact string
			texts := make([]sql.RawBytes, len(r.columns()))
			to := []any{&key, &exact}
			for i := range texts {
				to = append(to, &texts[i])
			}
			if err := rows.Scan(to...); err != nil {
				return 0, err
			}
			named := exact == e.t.ID
			for _, text := range texts {
				named = named || match.In(text)
			}
			if named {
				e.named[i] = append(e.named[i], key)
			}
			seq, _ = key.(int64)
			return seq, nil
		}
		text := `select ` + r.key + `, ` + cmp.Or(r.exact, `''`) + `, ` + strings.Join(r.columns(), ", ") + ` from ` + r.table
		var err error
		if r.bounded {
			err = e.read(ctx, r.table, func(ctx context.Context) error {
				_, err := collect(ctx, e.s.read, scan, text)
				return err
			})
		} else {
			err = e.pages(ctx, r.table, scan, text+` where seq > $1 order by seq limit $2`)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *erasure) findProject(ctx context.Context) error {
	if e.t.Kind != erase.Project {
		return nil
	}
	return e.addCount(ctx, &e.found.Projects, `select count(*) from project where id = $1`, e.t.ID)
}
