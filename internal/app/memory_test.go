package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"gaff/internal/config"
)

func TestContainerMemory(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		want int64
	}{
		"limit": {"157286400\n", 150 << 20}, "version 2 without": {"max\n", 0}, "version 1 without": {"9223372036854771712\n", 0}, "garbage": {"?", 0},
	} {
		file := filepath.Join(t.TempDir(), "memory.max")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := memoryLimit([]string{file + ".missing", file}); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestInFlightFitsTheContainer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ set, memory, want int64 }{
		{256 << 20, 80 << 20, 10 << 20}, {256 << 20, 0, 256 << 20}, {4 << 20, 80 << 20, 4 << 20},
	} {
		cfg := &config.Config{}
		cfg.Limits.InFlightBytes = tt.set
		fitMemory(cfg, tt.memory, slog.New(slog.DiscardHandler))
		if cfg.Limits.InFlightBytes != tt.want {
			t.Errorf("%d with %d of memory becomes %d, want %d", tt.set, tt.memory, cfg.Limits.InFlightBytes, tt.want)
		}
	}
}

func TestQueueFitsTheContainerAndTheDatabase(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		url    string
		memory int64
		length int
		bytes  int64
	}{
		"SQLite without limit":     {"", 0, 0, 0},
		"SQLite in much memory":    {"", 4 << 30, 0, 0},
		"SQLite in 128 MiB":        {"", 128 << 20, 0, 8 << 20},
		"PostgreSQL without limit": {"postgres://h/d", 0, 8192, 0},
	} {
		cfg := &config.Config{DatabaseURL: tt.url}
		if length, bytes := fitQueue(cfg, tt.memory); length != tt.length || bytes != tt.bytes {
			t.Errorf("%s: %d, %d, want %d, %d", name, length, bytes, tt.length, tt.bytes)
		}
	}
}
