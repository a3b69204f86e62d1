package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gaff/internal/pgtest"
)

// runPostgres measures nodes on a PostgreSQL that runs, and syncs, on the same machine. CPU and
// bytes written are those of the nodes and of PostgreSQL together.
func runPostgres(opt options) error {
	describeMachine()
	server, err := pgtest.NewServer(true, "shared_buffers=1GB", "max_wal_size=4GB")
	if err != nil {
		return err
	}
	defer server.Close()
	if *forwardAlone {
		return backlogs(opt, server)
	}
	bare, err := startBare()
	if err != nil {
		return err
	}
	defer bare.stop()
	fmt.Printf("ids: %s\n\n", *ids)
	printHeader()
	// Numbers of connections that can be divided by those of nodes.
	for i, m := range []struct{ nodes, conns int }{{1, 1}, {1, 66}, {1, 258}, {2, 66}, {3, 66}} {
		if name := fmt.Sprintf("%d@%d", m.nodes, m.conns); opt.only != "" && !slices.Contains(strings.Split(opt.only, ","), name) {
			continue
		}
		if err := measureNodes(opt, server, fmt.Sprintf("bench_%d", i), m.nodes, m.conns, bare); err != nil {
			return fmt.Errorf("%d nodes: %w", m.nodes, err)
		}
	}
	if opt.only != "" {
		return nil
	}
	return backlogs(opt, server)
}

// measureNodes measures so many nodes of each build, on a database of their own.
func measureNodes(opt options, server *pgtest.Server, database string, count, conns int, bare target) error {
	var subjects []*subject
	for _, b := range opt.builds {
		address, err := server.Database(database + "_" + b.name)
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp("", "gaff-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		s := &subject{build: b, target: target{database: server.Pid(), disk: diskOf(dir)}, warm: map[string]bool{}}
		for i := range count {
			node, addr, err := serve(b.binary, dir, "GAFF_DATA_DIR="+filepath.Join(dir, strconv.Itoa(i)), "GAFF_DATABASE_URL="+address)
			if err != nil {
				return fmt.Errorf("%s: %w", b.name, err)
			}
			defer node.stop()
			s.nodes, s.addrs = append(s.nodes, node), append(s.addrs, addr)
		}
		subjects = append(subjects, s)
	}
	for _, r := range []row{
		{name: fmt.Sprintf("%d node(s), custom event", count), load: customLoad, conns: conns, bare: true},
		{name: fmt.Sprintf("%d node(s), fal event, job and media done", count), load: falLoad, conns: conns, done: true, bare: true},
	} {
		if err := r.measure(opt, bare, subjects); err != nil {
			return err
		}
	}
	return nil
}
