// Command s3 is a real S3 server over a folder, for the tests: versitygw's own handlers,
// without what its program links beside them.
//
//	s3 ADDRESS FOLDER
//
// Folders in FOLDER/buckets are its buckets; the key is test-key, the secret test-secret.
// What it knows of files lies in FOLDER/about, for not every disk keeps attributes.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "s3:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want an address and a folder")
	}
	const key, secret = "test-key", "test-secret"
	buckets, about := filepath.Join(args[1], "buckets"), filepath.Join(args[1], "about")
	for _, dir := range []string{buckets, about} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	notes, err := meta.NewSideCar(about)
	if err != nil {
		return err
	}
	files, err := posix.New(buckets, notes, posix.PosixOpts{SideCarDir: about})
	if err != nil {
		return err
	}
	server, err := s3api.New(files, middlewares.RootUserConfig{Access: key, Secret: secret}, "us-east-1",
		auth.NewIAMServiceSingle(auth.Account{Access: key, Secret: secret, Role: auth.RoleAdmin}), nil, nil, nil, nil,
		s3api.WithQuiet(), s3api.WithConcurrencyLimiter(1000, 1000))
	if err != nil {
		return err
	}
	return server.ServeMultiPort(args[:1])
}
