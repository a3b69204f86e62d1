package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gaff/jobs"
)

// Where the database is another process, what the operations of a transaction do to jobs
// and media is read by one statement before they run, and written by one of each kind
// after them, rather than by journeys of each operation. What is written without a question
// travels together, at the latest with what is written last.

// rowsOf is a statement that writes rows, for one and for several at once.
type rowsOf struct {
	one  string   // its parameters are the columns
	many string   // its parameters are arrays, one for each column
	kind []string // of the columns: text, bigint or bytea
}

// columnsOf reads "name kind, name kind".
func columnsOf(text string) (names, kinds []string) {
	for column := range strings.SplitSeq(text, ",") {
		name, kind, _ := strings.Cut(strings.TrimSpace(column), " ")
		names, kinds = append(names, name), append(kinds, kind)
	}
	return names, kinds
}

func unnest(kinds []string) string {
	var list []string
	for i, kind := range kinds {
		list = append(list, "$"+strconv.Itoa(i+1)+"::"+kind+"[]")
	}
	return "unnest(" + strings.Join(list, ", ") + ")"
}

// inserting is an insert into a table, with what is to be done about a conflict. Of several
// rows each is known to be new, as far as one can: there a conflict is an error, after which
// each is inserted alone. Looking out for conflicts costs a search of every unique index.
func inserting(table, columns, conflict string) rowsOf {
	names, kinds := columnsOf(columns)
	var values []string
	for i := range names {
		values = append(values, "$"+strconv.Itoa(i+1))
	}
	into := "insert into " + table + " (" + strings.Join(names, ", ") + ") "
	return rowsOf{
		one:  into + "values (" + strings.Join(values, ", ") + ") " + conflict,
		many: into + "select * from " + unnest(kinds),
		kind: kinds,
	}
}

// updating is an update of all columns but the first, which names the row. The condition
// speaks of new.column for what is to be written.
func updating(table, columns, condition string) rowsOf {
	names, kinds := columnsOf(columns)
	var one, many []string
	for i, name := range names[1:] {
		one = append(one, name+" = $"+strconv.Itoa(i+2))
		many = append(many, name+" = new."+name)
	}
	single := condition
	for i, name := range names {
		single = strings.ReplaceAll(single, "new."+name, "$"+strconv.Itoa(i+1))
	}
	return rowsOf{
		one: "update " + table + " set " + strings.Join(one, ", ") + " where " + table + "." + names[0] + " = $1 and " + single,
		many: "update " + table + " set " + strings.Join(many, ", ") + " from " + unnest(kinds) + " as new(" + strings.Join(names, ", ") +
			") where " + table + "." + names[0] + " = new." + names[0] + " and " + condition,
		kind: kinds,
	}
}

// arrays turns rows into columns.
func (r *rowsOf) arrays(rows [][]any) []any {
	args := make([]any, len(r.kind))
	for c, kind := range r.kind {
		switch kind {
		case "bigint":
			column := make([]*int64, len(rows))
			for i, row := range rows {
				if n, ok := row[c].(int64); ok {
					column[i] = &n
				}
			}
			args[c] = column
		case "bytea":
			column := make([][]byte, len(rows))
			for i, row := range rows {
				column[i], _ = row[c].([]byte)
			}
			args[c] = column
		default:
			column := make([]string, len(rows))
			for i, row := range rows {
				column[i], _ = row[c].(string)
			}
			args[c] = column
		}
	}
	return args
}

// putOffs are the statements whose rows can wait to be written together, in the order in
// which that is done: a job is inserted before it is changed.
var putOffs = [...]*rowsOf{&insertJob, &updateJob, &insertMedia}

// putOff has a row wait for a statement that needs it written, so that it travels with
// others. ok is false where it must be written now.
func (t *tx) putOff(statement *rowsOf, args []any) (ok bool) {
	if t.s.opt.Shared == nil || !t.many {
		return false
	}
	which := slices.Index(putOffs[:], statement)
	t.deferred[which] = append(t.deferred[which], plainText(args))
	t.wrote, t.delayed = true, true
	return true
}

// errMet is a row that was put off, and could then not be written as expected.
var errMet = errors.New("a row is not as it was expected")

// send is exec where nobody needs the answer before the transaction ends.
func (t *tx) send(text string, args ...any) error {
	if t.s.opt.Shared == nil {
		_, err := t.exec(text, args...)
		return err
	}
	t.unsent = append(t.unsent, Statement{Text: text, Args: plainText(args)})
	t.wrote = true
	return nil
}

// flushDeferred writes what was put off, and what was sent. Each row that was put off is
// expected to be written; where one is not, or cannot be, all is done again, one by one and
// nothing later.
func (t *tx) flushDeferred() error {
	if !t.delayed && len(t.unsent) == 0 {
		return nil
	}
	var statements []Statement
	var expected []int
	for i, rows := range t.deferred {
		switch len(rows) {
		case 0:
			continue
		case 1:
			statements = append(statements, Statement{Text: putOffs[i].one, Args: rows[0]})
		default:
			statements = append(statements, Statement{Text: putOffs[i].many, Args: putOffs[i].arrays(rows)})
		}
		expected = append(expected, len(rows))
		t.deferred[i] = nil
	}
	statements = append(statements, t.unsent...)
	t.delayed, t.unsent = false, nil
	clear(t.known.putOff)
	clear(t.known.media)
	changed, err := t.travel(statements...)
	if err != nil {
		return err
	}
	for i, n := range expected {
		if changed[i] != int64(n) {
			t.broken = errMet
			return errMet
		}
	}
	return nil
}

// travel sends statements in one journey, after what begins the transaction if that was not
// sent yet, and returns how many rows each changed.
func (t *tx) travel(statements ...Statement) ([]int64, error) {
	begin := 0
	if !t.begun {
		statements = append([]Statement{{Text: `begin`}}, statements...)
		t.begun, begin = true, 1
	}
	changed, err := t.s.opt.Shared.Pipeline(t.ctx, t.x.db, statements)
	if err != nil {
		return nil, t.fault(err)
	}
	return changed[begin:], nil
}

// apart calls scan for every row of a query that nothing is about that was put off or sent.
func (t *tx) apart(scan func(Row) error, text string, args ...any) error {
	if t.s.opt.Shared == nil {
		return t.each(func(rows *sql.Rows) error { return scan(rows) }, text, args...)
	}
	_, err := t.travel(Statement{Text: text, Args: plainText(args), Scan: scan})
	return err
}

// knownJobs is what a transaction of several operations knows of jobs.
type knownJobs struct {
	// read are those that were read for all operations at once, until they are asked for
	// or written; nil for one that is not there.
	read map[jobs.JobRef]*jobScan
	// putOff are those of which something was put off.
	putOff map[jobs.JobRef]bool
	// unsettled are the ids of those that had not ended; they have no media, as a rule.
	unsettled map[string]bool
	// media are the places that were put off, by job and position.
	media map[[2]string]bool
}

// refs are the names under which a job is found.
func refs(j *jobs.Job) [2]jobs.JobRef {
	return [2]jobs.JobRef{{ID: j.ID}, {Provider: j.Provider, RequestID: j.RequestID}}
}

// wrote forgets what was read of a job.
func (k *knownJobs) wrote(j *jobs.Job) {
	for _, ref := range refs(j) {
		delete(k.read, ref)
	}
}

func (k *knownJobs) delayed(j *jobs.Job) {
	if k.putOff == nil {
		k.putOff = map[jobs.JobRef]bool{}
	}
	for _, ref := range refs(j) {
		k.putOff[ref] = true
	}
}

// seen notes whether a job has ended.
func (k *knownJobs) seen(j *jobs.Job, settled bool) {
	if k.unsettled == nil {
		k.unsettled = map[string]bool{}
	}
	k.unsettled[j.ID] = !settled
}

func (k *knownJobs) place(m *jobs.Media) {
	if k.media == nil {
		k.media = map[[2]string]bool{}
	}
	k.media[[2]string{m.JobID, m.Position}] = true
}

// likelyEmpty tells whether a place of a job most likely holds nothing.
func (k *knownJobs) likelyEmpty(m *jobs.Media) bool {
	return k.unsettled[m.JobID] && !k.media[[2]string{m.JobID, m.Position}]
}

// Read reads, and locks, the jobs that the operations are known to read.
func (t *tx) Read(known []any) error {
	if t.s.opt.Shared == nil || !t.many {
		return nil
	}
	var ids, providers, requests []string
	read := map[jobs.JobRef]*jobScan{}
	for _, name := range known {
		ref, _ := name.(jobs.JobRef)
		if _, twice := read[ref]; twice || !isPlain(ref.ID+ref.Provider+ref.RequestID) {
			continue
		}
		switch {
		case ref.ID != "":
			ids = append(ids, ref.ID)
		case ref.RequestID != "":
			providers, requests = append(providers, ref.Provider), append(requests, ref.RequestID)
		default:
			continue
		}
		read[ref] = nil
	}
	take := func(ref func(*jobs.Job) jobs.JobRef) func(Row) error {
		return func(row Row) error {
			sc := &jobScan{}
			err := row.Scan(sc.columns()...)
			if err == nil {
				read[ref(&sc.j)] = sc
			}
			return err
		}
	}
	if len(ids) > 0 {
		err := t.apart(take(func(j *jobs.Job) jobs.JobRef { return refs(j)[0] }),
			`select `+jobColumns+` from job j where j.id = any($1::text[]) order by j.seq for update`, ids)
		if err != nil {
			return fmt.Errorf("read jobs: %w", err)
		}
	}
	if len(requests) > 0 {
		err := t.apart(take(func(j *jobs.Job) jobs.JobRef { return refs(j)[1] }),
			`select `+jobColumns+` from unnest($1::text[], $2::text[]) as u(provider, request_id)
			join job j on j.provider = u.provider and j.request_id = u.request_id and j.request_id <> ''
			order by j.seq for update of j`, providers, requests)
		if err != nil {
			return fmt.Errorf("read jobs: %w", err)
		}
	}
	t.known.read = read
	return nil
}
