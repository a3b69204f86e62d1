package sqlstore

import (
	"testing"
	"time"
)

func TestJumpWatch(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var w JumpWatch
	for _, step := range []struct {
		name       string
		wall, mono time.Duration
		want       time.Duration
	}{
		{"first", 0, 5 * time.Second, 0},
		{"running", time.Second, 6 * time.Second, 0},
		{"corrected a little", 3 * time.Second, 7 * time.Second, 0},
		{"set back", 4*time.Second - time.Hour, 8 * time.Second, -time.Hour},
		{"running on", 5*time.Second - time.Hour, 9 * time.Second, 0},
		{"set forward", 6 * time.Second, 10 * time.Second, time.Hour},
	} {
		if got := w.Jump(at.Add(step.wall), step.mono); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}
