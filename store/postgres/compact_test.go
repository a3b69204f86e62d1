package postgres_test

import (
	"testing"

	"gaff/internal/pgtest"
	"gaff/store/postgres"
)

func TestCompact(t *testing.T) {
	t.Parallel()
	st, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, full := range []bool{false, true} {
		c, err := st.Compact(t.Context(), full)
		if err != nil {
			t.Fatalf("full %t: %v", full, err)
		}
		if c.Before == 0 || c.After == 0 || (c.Note == "") != full {
			t.Errorf("full %t: %+v", full, c)
		}
	}
}
