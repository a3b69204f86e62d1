package sqlstore

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInsertIsWrittenForBothDatabases(t *testing.T) {
	t.Parallel()
	const columns, conflict = `id text, size bigint`, `on conflict (id) do nothing`
	all, likelyNew := insertRows("t", columns, conflict), insertNewRows("t", columns, conflict)
	for _, c := range []struct{ name, got, want string }{
		{"SQLite", all.each, `insert into t (id, size) values (?, ?) on conflict (id) do nothing`},
		{"PostgreSQL, one row", all.one, `insert into t (id, size) values ($1, $2) on conflict (id) do nothing`},
		{"PostgreSQL, rows", all.many, `insert into t (id, size) select * from unnest($1::text[], $2::bigint[]) on conflict (id) do nothing`},
		{"PostgreSQL, one new row", likelyNew.one, `insert into t (id, size) values ($1, $2) on conflict (id) do nothing`},
		{"PostgreSQL, new rows", likelyNew.many, `insert into t (id, size) select * from unnest($1::text[], $2::bigint[]) `},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestUpdateIsWrittenForBothDatabases(t *testing.T) {
	t.Parallel()
	s := updateRows(`id text, n bigint`, `update t set n = t.n + new.n, m = new.n from new where t.id = new.id returning n`, "id")
	for _, c := range []struct{ name, got, want string }{
		{"SQLite", s.each, `update t set n = t.n + ?, m = ? where t.id = ?`},
		{"SQLite's returned columns", s.read, `select n from t where id = ?`},
		{"PostgreSQL, one row", s.one, `update t set n = t.n + $2::bigint, m = $2::bigint where t.id = $1::text returning n`},
		{"PostgreSQL, rows", s.many, `update t set n = t.n + new.n, m = new.n from unnest($1::text[], $2::bigint[]) ` +
			`with ordinality as new(id, n, at) where t.id = new.id returning new.at - 1, n`},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if diff := cmp.Diff([]any{"a"}, s.keyOf([]any{"a", int64(7)})); diff != "" {
		t.Errorf("the key for SQLite (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{int64(7), int64(7), "a"}, s.args([]any{"a", int64(7)})); diff != "" {
		t.Errorf("arguments for SQLite (-want +got):\n%s", diff)
	}
}

func TestRowsBecomeArrays(t *testing.T) {
	t.Parallel()
	s := insertRows("t", `id text, n bigint, at bigint, body bytea`, ``)
	got, err := s.arrays([][]any{{"a", int64(1), nil, []byte{}}, {"b", int64(2), int64(3), nil}})
	if err != nil {
		t.Fatal(err)
	}
	three := int64(3)
	want := []any{[]string{"a", "b"}, []int64{1, 2}, []*int64{nil, &three}, [][]byte{{}, nil}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("arrays (-want +got):\n%s", diff)
	}
	if _, err := s.arrays([][]any{{"a", 1, nil, nil}}); err == nil {
		t.Error("an int was accepted as a bigint, want an error")
	}
}

func TestParametersInOrderAreBare(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`select 1`: `select 1`,
		`select a from t where b = $1 and c = $2`:  `select a from t where b = ? and c = ?`,
		`select a from t where b = $2 and c = $1`:  `select a from t where b = $2 and c = $1`,
		`update t set a = $2, b = $2 where c = $1`: `update t set a = $2, b = $2 where c = $1`,
		`select json_extract(v, '$[0]') where $1`:  `select json_extract(v, '$[0]') where ?`,
	} {
		if got := barePositional(text); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
}
