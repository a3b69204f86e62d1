package sqlite_test

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gaff/internal/stats"
	"gaff/store/sqlite"
)

// Hours give the same totals, plots and pauses as their minutes: before and after the roll-up,
// whole and partial.
func TestRollUpChangesNoNumber(t *testing.T) {
	t.Parallel()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "gaff.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	now := time.Now().UTC()
	minute := now.Unix() / 60
	rng := rand.New(rand.NewPCG(3, 4))
	err = st.Between(func(conn *sql.Conn) error {
		ctx := context.Background()
		if _, err := conn.ExecContext(ctx, "begin"); err != nil {
			return err
		}
		for back := int64(4 * 24 * 60); back >= 0; back-- {
			for _, source := range []string{"fal", "shop", ""} {
				if rng.IntN(4) != 0 || source == "shop" && back > 3000 && back < 4000 {
					continue
				}
				received := rng.Int64N(5)
				if source == "" {
					received = 0
				}
				if _, err := conn.ExecContext(ctx, `insert into tally (source, minute, received, pending, success, error, rejected)
					values ($1, $2, $3, $4, $5, $6, $7)`, source, minute-back, received, rng.Int64N(3)-1, received, rng.Int64N(3)-1, rng.Int64N(2)); err != nil {
					return err
				}
			}
		}
		_, err := conn.ExecContext(ctx, "commit")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	type picture struct {
		Counts   []any
		Series   []*stats.Series
		Activity []stats.Activity
	}
	look := func() (p picture) {
		t.Helper()
		for _, since := range []time.Time{{}, now.Add(-24 * time.Hour), now.Add(-90 * time.Minute), now.Add(-77 * time.Hour), now.Add(-30 * time.Minute)} {
			c, err := st.Counts(t.Context(), since)
			if err != nil {
				t.Fatal(err)
			}
			p.Counts = append(p.Counts, c.Sources)
		}
		for _, name := range stats.Ranges {
			for _, source := range []string{"", "shop"} {
				span, _ := stats.SpanOf(name, now)
				span.Source = source
				s, err := stats.Read(t.Context(), st, span)
				if err != nil {
					t.Fatal(err)
				}
				p.Series = append(p.Series, s)
			}
		}
		p.Activity, err = st.Activity(t.Context(), now.Add(-3*24*time.Hour-17*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := look()
	if len(before.Activity) != 2 || before.Activity[1].Longest < 1000*time.Minute {
		t.Errorf("the pause of shop is missing: %+v", before.Activity)
	}
	// A part of the roll-up, all of it, and once more.
	for _, at := range []time.Time{now.Add(-40 * time.Hour), now, now, now.Add(time.Hour)} {
		if err := st.RollUp(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, look(), cmpopts.IgnoreUnexported(stats.Histogram{})); diff != "" {
			t.Fatalf("rolled up until %s:\n%s", at, diff)
		}
	}
}
