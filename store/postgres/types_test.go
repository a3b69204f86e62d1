package postgres_test

import (
	"testing"

	"gaff/internal/pgtest"
)

func TestStoreWorksWithoutDescribedParameters(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			st := open(t, pgtest.URL(t)+"&default_query_exec_mode="+mode)
			if _, err := accept(st, "sent with "+mode, true); err != nil {
				t.Error(err)
			}
		})
	}
}
