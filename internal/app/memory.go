package app

import (
	"log/slog"
	"os"
	"strconv"
	"strings"

	"gaff"
	"gaff/internal/config"
)

// memoryFiles hold a container's limit, in cgroups of version 2 and 1.
var memoryFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// noLimit is what version 1 says where there is no limit, or more.
const noLimit = 1 << 60

// ContainerMemory is the limit of this process's container in bytes; 0 if it has none.
func ContainerMemory() int64 { return memoryLimit(memoryFiles) }

func memoryLimit(files []string) int64 {
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < noLimit {
			return n
		}
	}
	return 0
}

// inFlightShare is the part of a container's memory that bodies being received may take: each
// is copied a few times while it is checked, parsed and stored.
const inFlightShare = 8

// fitMemory lowers limits.in_flight to what the container has room for.
func fitMemory(cfg *config.Config, memory int64, log *slog.Logger) {
	room := memory / inFlightShare
	if memory == 0 || cfg.Limits.InFlightBytes <= room {
		return
	}
	log.Info("limits.in_flight is lowered to fit the container's memory", "from", cfg.Limits.InFlightBytes, "to", room, "memory", memory)
	cfg.Limits.InFlightBytes = room
}

// queueShare is the part of a container's memory that events queued for the workers may take. Go's
// heap grows to several times of it before it is collected.
const queueShare = 16

// sharedQueue is how many deliveries a gateway on PostgreSQL queues in memory: it renews the lease
// of each, and other nodes cannot process them meanwhile.
const sharedQueue = 8192

// fitQueue bounds the queue of the workers by the container's memory, and on PostgreSQL in its
// length. Zero means the gateway's own bounds.
func fitQueue(cfg *config.Config, memory int64) (length int, bytes int64) {
	if cfg.DatabaseURL != "" {
		length = sharedQueue
	}
	if room := memory / queueShare; memory > 0 && room < gaff.DefaultQueueBytes {
		bytes = room
	}
	return length, bytes
}
