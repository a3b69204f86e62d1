package destination

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/id"
	"gaff/internal/redact"
)

// Files is the folder or bucket of an archive.
type Files interface {
	// Put stores a file under a name, whole or not at all. A file of the name is replaced.
	Put(ctx context.Context, name string, r io.ReadSeeker, size int64, contentType string) error
	Close() error
}

// An archive is written as files of JSON Lines, each with the events of one part of the log. Before a
// file is written, its part is stored with the cursor. A process that finds such a part, after a
// crash or at the same time, writes the same file under the same name, so that each event is in
// exactly one file.

const (
	archiveSize  = 10_000
	archiveWait  = Duration(5 * time.Minute)
	maxArchive   = 100_000
	archiveBytes = 64 << 20 // of a file before it is compressed
	// archiveTurn is how long other nodes leave a part to the one that began it. A store of one process has
	// no others: a part that was begun is of a process that has ended.
	archiveTurn = 2 * time.Minute
	// archiveEvery is the time between two looks at the log.
	archiveEvery = 5 * time.Second
	archivePage  = 200
)

// archiveKind is the kind of the records with the cursors.
const archiveKind = "archive"

// forArchive returns a copy with the defaults of archives, whose files are larger than requests.
func (b *Batch) forArchive() *Batch {
	full := Batch{Size: archiveSize, Wait: archiveWait, Format: BatchLines}
	if b != nil && b.Size != 0 {
		full.Size = b.Size
	}
	if b != nil && b.Wait != 0 {
		full.Wait = b.Wait
	}
	if b != nil && b.Format != "" {
		full.Format = b.Format
	}
	return &full
}

func (c *compiled) checkArchive(fault func(string, string, ...any)) {
	u, err := url.Parse(c.URL)
	if err != nil || !strings.HasPrefix(c.URL, "/") && !slices.Contains([]string{"s3", "gs"}, u.Scheme) {
		fault("url", "must name a folder or a bucket: /folder, s3://bucket/prefix or gs://bucket/prefix")
	}
	if c.Topic != "" || c.Transform != "" || c.Format != FormatEnvelope || len(c.Secrets) > 0 || len(c.Headers) > 0 || c.Key != "" || c.OrderBy != "" || c.Delay != 0 {
		fault("kind", "an archive has url, events, filter and batch only")
	}
	if b := c.Batch; b.Size < 1 || b.Size > maxArchive || b.Wait < Duration(time.Second) || b.Wait > Duration(24*time.Hour) || b.Format != BatchLines {
		fault("batch", "of an archive must have a size of 1 to %d, and a wait of 1s to 24h", maxArchive)
	}
}

// Archived is how far an archive is. It is stored as a record.
type Archived struct {
	// Cursor is the last event of the log that was archived, or left out because it is not
	// selected; empty before the first one.
	Cursor string `json:"cursor,omitempty"`
	// Events and Files count all that were written, LastFile is the name of the newest one, At when
	// it was written.
	Events   int64      `json:"events"`
	Files    int64      `json:"files"`
	LastFile string     `json:"lastFile,omitempty"`
	At       *time.Time `json:"at,omitempty"`
	// Part is being written; nil if none is.
	Part *archivePart `json:"part,omitempty"`
}

// archivePart is the part of the log after the cursor up to an event, that is written to one file.
type archivePart struct {
	Last  string    `json:"last"`
	File  string    `json:"file"`
	Node  string    `json:"node"`
	Until time.Time `json:"until"` // when another node may take over
}

// archiver writes the archive of one destination.
type archiver struct {
	m     *Manager
	d     *Destination
	files Files
	node  string
}

func (m *Manager) newArchiver(d *Destination) (*archiver, error) {
	if m.o.Files == nil {
		return nil, fmt.Errorf("%w: this program has no archives", gaff.ErrInvalid)
	}
	files, err := m.o.Files(d.URL)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	return &archiver{m: m, d: d, files: files, node: rand.Text()}, nil
}

// archive writes all archives until ctx ends.
func (m *Manager) archive(ctx context.Context) {
	tick := time.NewTicker(archiveEvery)
	defer tick.Stop()
	for {
		for _, a := range m.archivers() {
			for more := true; more && ctx.Err() == nil; {
				var err error
				more, err = a.step(ctx, time.Now())
				if err != nil && ctx.Err() == nil {
					a.d.record(a.d.Name, err)
					m.o.Log.Warn("archive", "destination", a.d.Name, "error", redact.Error(err))
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *Manager) archivers() (all []*archiver) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.live {
		if l.archiver != nil && l.d.Health().State == StateActive {
			all = append(all, l.archiver)
		}
	}
	return all
}

// archived reads how far an archive is.
func (m *Manager) archived(ctx context.Context, name string) (a Archived, r gaff.Record, err error) {
	r, err = m.o.Store.Record(ctx, archiveKind, name)
	if errors.Is(err, gaff.ErrNotFound) {
		return a, gaff.Record{Kind: archiveKind, Name: name, Revision: gaff.NewRecord}, nil
	}
	if err == nil {
		err = json.Unmarshal(r.Value, &a)
	}
	return a, r, err
}

// putArchived stores how far an archive is, unless another node did since it was read.
func (m *Manager) putArchived(ctx context.Context, r gaff.Record, a Archived) (gaff.Record, error) {
	var err error
	if r.Value, err = json.Marshal(a); err != nil {
		return r, err
	}
	return m.o.Store.PutRecord(ctx, r)
}

// Unarchived returns the number of the last event that every archive has, and true if there is an
// archive: retention must leave the events after it.
func (m *Manager) Unarchived(ctx context.Context) (seq int64, any bool, err error) {
	m.mu.Lock()
	var names []string
	for name, l := range m.live {
		if l.d.Kind == KindArchive {
			names = append(names, name)
		}
	}
	m.mu.Unlock()
	for i, name := range names {
		a, _, err := m.archived(ctx, name)
		if err != nil {
			return 0, true, err
		}
		at, _ := id.ParseEvent(a.Cursor)
		if i == 0 || at < seq {
			seq = at
		}
	}
	return seq, len(names) > 0, nil
}

// step writes the next file if one is due. It reports whether there may be another one.
func (a *archiver) step(ctx context.Context, now time.Time) (more bool, err error) {
	state, record, err := a.m.archived(ctx, a.d.Name)
	if err != nil {
		return false, err
	}
	if p := state.Part; p != nil && a.m.o.Shared && p.Node != a.node && now.Before(p.Until) {
		return false, nil // another node writes it
	}
	if state.Part == nil {
		if due, err := a.due(ctx, state.Cursor, now); err != nil || !due {
			return false, err
		}
	}
	part, err := a.read(ctx, &state)
	if err != nil || part.last == "" {
		return false, err
	}
	if state.Part == nil && part.events > 0 {
		state.Part = &archivePart{Last: part.last, File: a.fileName(state.Cursor, part)}
	}
	if p := state.Part; p != nil {
		// This also fails if another node has finished the part since: the events read here could
		// lack bodies that retention has removed.
		p.Node, p.Until = a.node, now.Add(archiveTurn).UTC()
		if record, err = a.m.putArchived(ctx, record, state); err != nil {
			return false, ignoreConflict(err)
		}
	}
	if p := state.Part; p != nil && part.events > 0 {
		if err := a.files.Put(ctx, p.File, bytes.NewReader(part.file), int64(len(part.file)), "application/gzip"); err != nil {
			return false, redact.Errorf("write %s: %w", redact.Own(p.File), err)
		}
		at := time.Now().UTC()
		state.Files, state.Events, state.LastFile, state.At = state.Files+1, state.Events+int64(part.events), p.File, &at
	}
	state.Cursor, state.Part = part.last, nil
	if _, err := a.m.putArchived(ctx, record, state); err != nil {
		return false, ignoreConflict(err)
	}
	a.d.record(a.d.Name, nil)
	return true, nil
}

// ignoreConflict drops the error of a record that another node has changed: it archives too.
func ignoreConflict(err error) error {
	if errors.Is(err, gaff.ErrConflict) {
		return nil
	}
	return err
}

// due reports whether a file is full, or its first event has waited long enough.
func (a *archiver) due(ctx context.Context, cursor string, now time.Time) (bool, error) {
	first, _, err := a.m.o.Store.EventsAfter(ctx, cursor, 1)
	if err != nil || len(first) == 0 {
		return false, err
	}
	if !now.Before(first[0].ReceivedAt.Add(time.Duration(a.d.Batch.Wait))) {
		return true, nil
	}
	newest, err := a.m.o.Store.NewestEvent(ctx)
	from, _ := id.ParseEvent(cursor)
	to, _ := id.ParseEvent(newest)
	return to-from >= int64(a.d.Batch.Size), err
}

// part is a part of the log, compressed.
type part struct {
	last   string // empty if there is no event
	first  time.Time
	events int
	file   []byte
}

// read encodes the selected events after the cursor: those of the part that was begun, or as many as
// a file takes.
func (a *archiver) read(ctx context.Context, state *Archived) (p part, err error) {
	var file bytes.Buffer
	w := gzip.NewWriter(&file)
	size, until := 0, int64(0)
	if state.Part != nil {
		until, _ = id.ParseEvent(state.Part.Last)
	}
	for after := state.Cursor; ; after = p.last {
		evs, _, err := a.m.o.Store.EventsAfter(ctx, after, archivePage)
		if err != nil {
			return p, err
		}
		for _, ev := range evs {
			if seq, _ := id.ParseEvent(ev.ID); until > 0 && seq > until {
				evs = nil
				break
			}
			p.last = ev.ID
			if p.first.IsZero() {
				p.first = ev.ReceivedAt
			}
			if !a.d.Matches(&gaff.Subject{Event: ev}) {
				continue
			}
			line, err := archiveLine(ctx, ev)
			if err != nil {
				return p, redact.Errorf("archive %s: %w", redact.Own(ev.ID), err)
			}
			_, _ = w.Write(append(line, '\n')) // to memory: never fails
			p.events++
			size += len(line)
			if until == 0 && (p.events >= a.d.Batch.Size || size >= archiveBytes) {
				evs = nil
				break
			}
		}
		if len(evs) < archivePage {
			break
		}
	}
	if state.Part != nil {
		p.last = state.Part.Last // also if its last events were erased since
	}
	_ = w.Close()
	p.file = file.Bytes()
	return p, nil
}

// fileName names the file of a part by its day and the numbers of its events.
func (a *archiver) fileName(cursor string, p part) string {
	from, _ := id.ParseEvent(cursor)
	to, _ := id.ParseEvent(p.last)
	return fmt.Sprintf("%s/%s/%012d-%012d.jsonl.gz", a.d.Name, p.first.UTC().Format("2006/01/02"), from+1, to)
}

// archiveLine is one event of an archive: its envelope without job and media, which change, and the
// request. Secrets that the sender sent are masked.
func archiveLine(ctx context.Context, ev *gaff.Event) ([]byte, error) {
	envelope, err := NewEnvelope(ctx, ev, nil)
	if err != nil {
		return nil, err
	}
	line := struct {
		Envelope json.RawMessage  `json:"envelope"`
		Request  *archivedRequest `json:"request"`
		Damaged  bool             `json:"damaged,omitempty"` // its body differs from its hash
	}{Envelope: envelope, Damaged: ev.Damaged}
	if r := ev.Request; r != nil {
		secrets := ev.Verification.Secrets
		line.Request = &archivedRequest{
			Method: r.Method, URL: redact.URL(r.URL, secrets), Header: redact.Header(r.Header, secrets),
			Body: redact.Body(r.Header.Get("Content-Type"), r.Body, secrets),
		}
	}
	return json.Marshal(line)
}

// archivedRequest is a request as it was received; its body is Base64 in JSON.
type archivedRequest struct {
	Method string              `json:"method"`
	URL    string              `json:"url"`
	Header map[string][]string `json:"headers"`
	Body   []byte              `json:"bodyBase64"`
}

// describeArchive reads how far an archive is, and how many events of the log are after it.
func (m *Manager) describeArchive(ctx context.Context, d *Managed) error {
	a, _, err := m.archived(ctx, d.Name)
	if err != nil {
		return err
	}
	newest, err := m.o.Store.NewestEvent(ctx)
	if err != nil {
		return err
	}
	from, _ := id.ParseEvent(a.Cursor)
	to, _ := id.ParseEvent(newest)
	d.Archive, d.Counts.Waiting = &a, max(min(to-from, gaff.MaxLogCount+1), 0)
	return nil
}
