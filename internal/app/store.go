package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"gaff/internal/access"
	"gaff/internal/config"
	"gaff/internal/secretbox"
	"gaff/internal/sqlstore"
	"gaff/store/postgres"
	"gaff/store/sqlite"
)

// openStore opens the database. exclusive has it refuse PostgreSQL if another gateway there has files
// that this one would not see.
func openStore(ctx context.Context, cfg *config.Config, log *slog.Logger, exclusive bool) (*sqlstore.Store, error) {
	box, err := secretBox(cfg)
	if err != nil {
		return nil, err
	}
	st, err := openDatabase(ctx, cfg, log, exclusive)
	if err != nil {
		return nil, err
	}
	sealed, err := st.UseSecretKeys(ctx, box)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if sealed > 0 {
		log.InfoContext(ctx, "secrets in the database were encrypted with the first key of GAFF_SECRETS_KEY", "secrets", sealed)
	}
	return st, nil
}

// secretBox reads the keys that encrypt the secrets in the database; nil without keys.
func secretBox(cfg *config.Config) (*secretbox.Box, error) {
	box, err := secretbox.New(texts(cfg.SecretsKeys))
	if err != nil {
		return nil, fmt.Errorf("GAFF_SECRETS_KEY: %w", err)
	}
	return box, nil
}

func openDatabase(ctx context.Context, cfg *config.Config, log *slog.Logger, exclusive bool) (*sqlstore.Store, error) {
	if cfg.DatabaseURL == "" {
		removeLeftBackups(cfg.DataDir)
		return sqlite.Open(ctx, filepath.Join(cfg.DataDir, DatabaseFile), sqlite.Options{
			Log: log, MaxQueuedBytes: cfg.Limits.InFlightBytes, MaxRejections: cfg.Limits.Rejections, MaxQuarantine: cfg.Limits.Quarantine, QuarantineFor: cfg.Limits.QuarantineFor,
		})
	}
	// The token and the address of this node are still stored there.
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("create the data folder: %w", err)
	}
	return postgres.Open(ctx, cfg.DatabaseURL, postgres.Options{
		Log: log, MaxRejections: cfg.Limits.Rejections, Lease: cfg.Limits.Lease, Exclusive: exclusive, ReadAddress: cfg.DatabaseReadURL,
		MaxQueuedBytes: cfg.Limits.InFlightBytes, MaxQuarantine: cfg.Limits.Quarantine, QuarantineFor: cfg.Limits.QuarantineFor,
	})
}

// admin is who may do everything.
type admin struct {
	hash string // of the token
	hint string // with which token to manage the gateway
}

// adminSetting names the row in which nodes of one database agree on the token's hash.
const adminSetting = "admin_token"

// findAdmin returns the token of the configuration, else the one that the first start
// made. It is printed when it is made, and only then. Nodes that share a database share
// it: the database has its hash.
func findAdmin(ctx context.Context, cfg *config.Config, st *sqlstore.Store, log *slog.Logger) (admin, error) {
	path := filepath.Join(cfg.DataDir, TokenFile)
	a := admin{hint: "with the token in " + path}
	if cfg.DatabaseURL == "" {
		token, made, err := adminToken(cfg)
		a.hash = access.Hash(token)
		if made {
			a.hint = madeHint(token, path)
		}
		if cfg.AdminToken != "" {
			a.hint = envHint
		}
		return a, err
	}
	token, err := knownToken(cfg)
	if err != nil {
		return a, err
	}
	fresh := token == ""
	if fresh {
		token = newToken()
	}
	stored, err := st.Setting(ctx, adminSetting, access.Hash(token))
	if err != nil {
		return a, fmt.Errorf("admin token: %w", err)
	}
	a.hash = access.Hash(token)
	switch same := stored == a.hash; {
	case cfg.AdminToken != "":
		a.hint = envHint
		if !same {
			log.Warn("another node was given another admin token; set the same GAFF_ADMIN_TOKEN on all")
		}
	case same && fresh:
		a.hint = madeHint(token, path)
		err = keepToken(path, token)
	case !same:
		a.hash = stored
		a.hint = "with the admin token of the first node that was started on this database (in its data folder)"
	}
	return a, err
}

const envHint = "with the token of GAFF_ADMIN_TOKEN"

func madeHint(token, path string) string {
	return "with the token " + token + "\n(kept in " + path + ", readable by you alone)"
}

// knownToken is the configured token, else the one in the data folder; empty without
// either.
func knownToken(cfg *config.Config) (string, error) {
	if cfg.AdminToken != "" {
		return string(cfg.AdminToken), nil
	}
	path := filepath.Join(cfg.DataDir, TokenFile)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("admin token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if err := config.CheckAdminToken(config.Secret(token)); err != nil {
		return "", fmt.Errorf("the file %s %w; or remove the file, and gaff makes a token at the next start", path, err)
	}
	return token, nil
}

func mustExist(path string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("no database: %w", err)
	}
	return nil
}

func keepToken(path, token string) error {
	err := os.WriteFile(path, []byte(token+"\n"), 0o600)
	if err == nil {
		err = os.Chmod(path, 0o600) // an empty file that was there has a mode of its own
	}
	if err != nil {
		return fmt.Errorf("keep the admin token: %w", err)
	}
	return nil
}

// adminToken is knownToken, or a new one that is kept.
func adminToken(cfg *config.Config) (token string, made bool, err error) {
	if token, err = knownToken(cfg); err != nil || token != "" {
		return token, false, err
	}
	token = newToken()
	return token, true, keepToken(filepath.Join(cfg.DataDir, TokenFile), token)
}
