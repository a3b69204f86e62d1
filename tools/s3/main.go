// Command s3 is a real S3 server over a folder, for the tests: versitygw's own handlers,
// without what its program links beside them.
//
//	s3 ADDRESS FOLDER
//
// Folders in FOLDER are its buckets; the key is test-key, the secret test-secret.
package main

import (
	"fmt"
	"os"

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
	files, err := posix.New(args[1], meta.XattrMeta{}, posix.PosixOpts{})
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
