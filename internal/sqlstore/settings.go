package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Setting stores value under a name unless a value is stored already, and returns the stored
// one. It is for values that all processes of a database must agree on, such as a key.
func (s *Store) Setting(ctx context.Context, name, value string) (kept string, err error) {
	if value, err = s.seal(isSecretSetting(name), value); err != nil {
		return "", err
	}
	err = s.w.Do(ctx, &op{Run: func(tx *tx) error {
		if _, err := tx.exec(`insert into setting (name, value) values ($1, $2) on conflict (name) do nothing`, name, value); err != nil {
			return err
		}
		return tx.row([]any{&kept}, `select value from setting where name = $1`, name)
	}})
	if err != nil {
		return "", err
	}
	return s.unseal("setting "+name, kept)
}

func (e *effects) Setting(_ context.Context, name string) (string, error) {
	var value string
	e.independent = true // no deferred row is a setting
	defer func() { e.independent = false }()
	err := e.row([]any{&value}, `select value from setting where name = $1`, name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("setting %s: %w", name, err)
	}
	return e.s.unseal("setting "+name, value)
}

func (e *effects) SetSetting(_ context.Context, name, value string) error {
	value, err := e.s.seal(isSecretSetting(name), value)
	if err != nil {
		return err
	}
	_, err = e.exec(`insert into setting (name, value) values ($1, $2)
		on conflict (name) do update set value = excluded.value`, name, value)
	if err != nil {
		return fmt.Errorf("setting %s: %w", name, err)
	}
	return nil
}

// keptPrefix distinguishes the texts of Keep from the store's own settings.
const keptPrefix = "kept:"

// Keep stores a text under a name, once.
func (s *Store) Keep(ctx context.Context, name, value string) (kept bool, err error) {
	if value, err = s.seal(isSecretSetting(keptPrefix+name), value); err != nil {
		return false, err
	}
	err = s.w.Do(ctx, &op{Run: func(tx *tx) error {
		n, err := tx.exec(`insert into setting (name, value) values ($1, $2) on conflict (name) do nothing`, keptPrefix+name, value)
		kept = n > 0
		return err
	}})
	return kept, err
}

// Kept returns the text under a name; empty if it is missing.
func (s *Store) Kept(ctx context.Context, name string) (value string, err error) {
	ctx, cancel := s.reading(ctx)
	defer cancel()
	err = s.read.QueryRowContext(ctx, `select value from setting where name = $1`, keptPrefix+name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", s.fault(ctx, "kept text", err)
	}
	return s.unseal(name, value)
}

// Unkeep removes the text under a name.
func (s *Store) Unkeep(ctx context.Context, name string) error {
	return s.w.Do(ctx, &op{Run: func(tx *tx) error {
		_, err := tx.exec(`delete from setting where name = $1`, keptPrefix+name)
		return err
	}})
}
