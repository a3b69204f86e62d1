package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"gaff"
	"gaff/internal/excerpt"
	"gaff/internal/id"
	"gaff/internal/issue"
	"gaff/internal/sorting"
)

var _ issue.Store = (*Store)(nil)

// maxIssues bounds the issues of each kind, so that rejections, which untrusted clients
// cause, cannot displace those of deliveries.
const maxIssues = 500

// failures are those of a group that are added to its issue at once.
type failures struct {
	group issue.Group
	id    string
	ref   string // of the newest delivery or rejection
	count int64
	items []deliveryKey // the deliveries; empty for rejections
}

// failDelivery adds a dead delivery to its issue.
func (t *tx) failDelivery(l gaff.Lease, f *gaff.Failure) {
	g := issue.OfDelivery(l.Source, f)
	t.failed(failures{
		group: g, id: g.ID(), ref: id.OfDelivery(l.EventID, l.Delivery), count: 1, items: []deliveryKey{keyOf(l)},
	})
}

// failed records failures, which the end of the transaction adds to their issue.
func (t *tx) failed(f failures) {
	i := slices.IndexFunc(t.issues, func(other failures) bool { return other.id == f.id })
	if i < 0 {
		t.issues = append(t.issues, f)
		return
	}
	same := &t.issues[i]
	same.group, same.ref, same.count, same.items = f.group, f.ref, same.count+f.count, append(same.items, f.items...)
}

// rejectedGroups are the rejections that no issue counts yet. They are added a second later in a
// transaction of their own: nodes that share an issue must not wait for each other while they
// accept webhooks.
type rejectedGroups struct {
	mu     sync.Mutex
	groups map[string]failures
}

const (
	// countRejections is the delay until rejections are counted.
	countRejections = time.Second
	// maxRejectedGroups bounds the groups until then; rejections of other groups are not
	// counted.
	maxRejectedGroups = 1000
)

// noteRejection records a stored rejection, which its issue will count.
func (s *Store) noteRejection(rj *gaff.Rejection) {
	g := issue.OfRejection(rj.Source, rj.Status, rj.Reason)
	key := g.ID()
	s.rejected.mu.Lock()
	defer s.rejected.mu.Unlock()
	if s.rejected.groups == nil {
		s.rejected.groups = map[string]failures{}
		time.AfterFunc(countRejections, s.writeRejections)
	}
	f := s.rejected.groups[key]
	if f.count == 0 && len(s.rejected.groups) >= maxRejectedGroups {
		return
	}
	s.rejected.groups[key] = failures{group: g, id: key, ref: rj.ID, count: f.count + 1}
}

// writeRejections adds the rejections to their issues. If the database is unavailable, they
// are not counted; their rows are stored.
func (s *Store) writeRejections() {
	s.rejected.mu.Lock()
	groups := s.rejected.groups
	s.rejected.groups = nil
	s.rejected.mu.Unlock()
	if len(groups) == 0 {
		return
	}
	err := s.w.Do(context.Background(), &op{Run: func(tx *tx) error {
		for _, f := range groups {
			tx.failed(f)
		}
		return nil
	}})
	if err != nil && !errors.Is(err, gaff.ErrStopped) {
		s.opt.Log.Warn("rejections were not counted by their issues", "error", err)
	}
}

// writeIssues writes the issues of all failures of the transaction, each once, in one order, so
// that nodes do not deadlock over them. An issue's last_at differs from those of the others, so
// that lists can be paged by it.
func (t *tx) writeIssues() error {
	sorting.By(t.issues, func(a, b failures) int { return cmp.Compare(a.id, b.id) })
	for i, f := range t.issues {
		if err := t.writeIssue(f, micros(t.now)+int64(i)); err != nil {
			return fmt.Errorf("issue: %w", err)
		}
	}
	t.x.issues += int64(len(t.issues))
	t.issues = nil
	if t.x.issues < maxIssues/10 {
		return nil
	}
	t.x.issues = 0
	return t.evictIssues()
}

var (
	insertIssue = insertRows("issue", `id text, kind bigint, source text, handler text, http_status bigint, error text, state bigint,
		muted bigint, count bigint, first_at bigint, last_at bigint, opened_at bigint, changed_by text, last_ref text`,
		`on conflict (id) do update set
			count = issue.count + excluded.count, error = excluded.error, last_ref = excluded.last_ref,
			last_at = case when excluded.last_at > issue.last_at then excluded.last_at else issue.last_at end,
			opened_at = case when issue.state = 2 then excluded.last_at else issue.opened_at end,
			state = case when issue.state = 2 then 0 else issue.state end`)
	insertIssueItem = insertRows("issue_item", `seq bigint, n bigint, issue text`, `on conflict (seq, n) do update set issue = excluded.issue`)
)

// writeIssue adds failures to their issue.
func (t *tx) writeIssue(f failures, at int64) error {
	g := f.group
	if err := t.db.write(t, &insertIssue, [][]any{{
		f.id, int64(g.Kind), excerpt.Text(g.Source, 64), g.Handler, int64(g.Status), excerpt.Text(g.Error, 300), int64(issue.Open), flag(g.Muted),
		f.count, at, at, at, "", f.ref,
	}}); err != nil {
		return err
	}
	items := make([][]any, len(f.items))
	for i, item := range f.items {
		items[i] = []any{item.seq, int64(item.n), f.id}
	}
	if err := t.db.write(t, &insertIssueItem, items); err != nil {
		return err
	}
	t.change("issue", f.id, "failed", g.Source)
	return nil
}

// evictIssues removes the issues over the bound of their kind: the resolved ones first, then
// those that failed longest ago.
func (t *tx) evictIssues() error {
	for kind := range issue.Kinds() {
		removed, err := t.exec(`delete from issue where id in (select id from issue where kind = $1
			order by case when state = 2 then 1 else 0 end, last_at desc limit $2 offset $3`+t.db.lockFree()+`)`,
			int64(kind), 10*maxIssues, maxIssues)
		if err != nil {
			return fmt.Errorf("evict issues: %w", err)
		}
		if removed > 0 && issue.Kind(kind) == issue.Delivery {
			if err := t.dropItems(); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropItems removes some deliveries of removed issues.
func (t *tx) dropItems() error {
	_, err := t.exec(`delete from issue_item where (seq, n) in (select i.seq, i.n from issue_item i
		where not exists (select 1 from issue s where s.id = i.issue) limit $1)`, pruneBatch)
	if err != nil {
		return fmt.Errorf("drop items of issues: %w", err)
	}
	return nil
}

const issueColumns = `i.id, i.kind, i.source, i.handler, i.http_status, i.error, i.state, i.muted, i.count, i.first_at, i.last_at,
	i.opened_at, i.changed_at, i.changed_by, i.last_ref`

func scanIssue(rows *sql.Rows) (i issue.Issue, err error) {
	var first, last, opened int64
	var changed sql.NullInt64
	err = rows.Scan(&i.ID, &i.Kind, &i.Source, &i.Handler, &i.Status, &i.Error, &i.State, &i.Muted, &i.Count, &first, &last,
		&opened, &changed, &i.ChangedBy, &i.LastRef)
	i.FirstAt, i.LastAt, i.OpenedAt, i.ChangedAt = fromMicros(first), fromMicros(last), fromMicros(opened), fromNull(changed)
	return i, err
}

// Issues returns a page of issues, the one that failed last first.
func (s *Store) Issues(ctx context.Context, f issue.Filter) (page gaff.Page[issue.Issue], err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	var w where
	limit, err := w.page("i.last_at", f.Cursor)
	if err != nil {
		return page, s.fault(ctx, "issues", err)
	}
	if f.Kind != nil {
		w.add("i.kind = ?", int64(*f.Kind))
	}
	if f.State != nil {
		w.add("i.state = ?", int64(*f.State))
	}
	if f.Source != "" {
		w.add("i.source = ?", f.Source)
	}
	if f.Handler != "" {
		w.add("i.handler = ?", f.Handler)
	}
	found, err := collect(ctx, s.read, scanIssue, `select `+issueColumns+` from issue i`+w.String()+
		` order by i.last_at desc limit `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return page, s.fault(ctx, "issues", err)
	}
	page.Items, page.Next = next(found, limit, func(i issue.Issue) int64 { return micros(i.LastAt) })
	return page, nil
}

// Issue returns one issue.
func (s *Store) Issue(ctx context.Context, issueID string) (*issue.Issue, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	found, err := collect(ctx, s.read, scanIssue, `select `+issueColumns+` from issue i where i.id = $1`, issueID)
	if err == nil && len(found) == 0 {
		err = missing("issue", issueID)
	}
	if err != nil {
		return nil, s.fault(ctx, "issue", err)
	}
	return &found[0], nil
}

// SetIssueState changes the state of an issue.
func (s *Store) SetIssueState(ctx context.Context, issueID string, to issue.State, by string) (*issue.Issue, error) {
	err := s.w.Do(ctx, &op{Run: func(tx *tx) error {
		n, err := tx.exec(`update issue set state = $2, changed_at = $3, changed_by = $4,
			opened_at = case when $5 = 1 and state >= 2 then $3 else opened_at end where id = $1`,
			issueID, int64(to), micros(tx.now), excerpt.Text(by, 200), flag(to == issue.Open))
		if err != nil {
			return fmt.Errorf("set the state of an issue: %w", err)
		}
		if n == 0 {
			return missing("issue", issueID)
		}
		tx.change("issue", issueID, to.String(), "")
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return s.Issue(ctx, issueID)
}

// IssueDeliveries returns the dead deliveries of an issue.
func (s *Store) IssueDeliveries(ctx context.Context, issueID string, limit int) ([]string, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	ids, err := collect(ctx, s.read, func(rows *sql.Rows) (text string, err error) {
		var seq, received int64
		var n int
		err = rows.Scan(&seq, &n, &received)
		return id.OfDelivery(id.OfEvent(fromMicros(received), seq), n), err
	}, `select d.seq, d.n, e.received_at from issue_item i join delivery d on d.seq = i.seq and d.n = i.n join event e on e.seq = d.seq
		where i.issue = $1 and d.state = 4 and d.replaced = 0 order by i.seq, i.n limit $2`, issueID, limit)
	return ids, s.fault(ctx, "deliveries of an issue", err)
}

// ResolveIssues resolves the issues that need no action any more, and returns how many.
func (s *Store) ResolveIssues(ctx context.Context, quiet time.Time) (resolved int, err error) {
	over, err := s.issuesOver(ctx, quiet)
	if err != nil || len(over) == 0 {
		return 0, err
	}
	err = s.w.Do(ctx, &op{Run: func(tx *tx) error {
		resolved = 0
		for _, i := range over {
			// The condition leaves out those that failed again meanwhile.
			n, err := tx.exec(`update issue set state = 2, changed_at = $2, changed_by = '' where id = $1 and state < 2 and last_at = $3`,
				i.ID, micros(tx.now), micros(i.LastAt))
			if err != nil {
				return fmt.Errorf("resolve issues: %w", err)
			}
			if n == 0 {
				continue
			}
			resolved++
			tx.change("issue", i.ID, issue.Resolved.String(), i.Source)
			if _, err := tx.exec(`delete from issue_item where issue = $1`, i.ID); err != nil {
				return fmt.Errorf("resolve issues: %w", err)
			}
		}
		return nil
	}})
	return resolved, err
}

// issuesOver returns the unresolved issues that need no action any more.
func (s *Store) issuesOver(ctx context.Context, quiet time.Time) ([]issue.Issue, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	over, err := collect(ctx, s.read, scanIssue, `select `+issueColumns+` from issue i where i.state < 2 and (
			i.kind = 1 and i.last_at < $1
			or i.kind = 0 and not exists (select 1 from issue_item t join delivery d on d.seq = t.seq and d.n = t.n
				where t.issue = i.id and d.state not in (3, 5) and d.replaced = 0))
		order by i.id limit $2`, micros(quiet), pruneBatch)
	return over, s.fault(ctx, "issues", err)
}

// IssueCounts counts the issues by state.
func (s *Store) IssueCounts(ctx context.Context) (map[issue.State]int, error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	counts := map[issue.State]int{}
	_, err := collect(ctx, s.read, func(rows *sql.Rows) (none struct{}, err error) {
		var state issue.State
		var n int
		err = rows.Scan(&state, &n)
		counts[state] = n
		return none, err
	}, `select state, count(*) from issue where muted = 0 group by state`)
	return counts, s.fault(ctx, "issues", err)
}

// pruneIssues removes the issues that failed last before a time, deliveries of removed issues,
// and alerts that ended before the time.
func (t *tx) pruneIssues(before, _ int64) (removed, last int64, err error) {
	removed, err = t.exec(`delete from issue where id in (select id from issue where last_at < $1
		order by last_at limit $2`+t.db.lockFree()+`)`, before, pruneBatch)
	if err != nil {
		return 0, 0, err
	}
	if err := t.dropItems(); err != nil {
		return 0, 0, err
	}
	if removed < pruneBatch {
		return removed, -1, t.pruneAlerts(before)
	}
	return removed, 0, nil
}
