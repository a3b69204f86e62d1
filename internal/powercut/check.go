package powercut

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver that Check opens the database with
)

// Acknowledged is a webhook that was answered with 200.
type Acknowledged struct {
	// Source and WebhookID identify its event.
	Source, WebhookID string
	// At is Record.Len after the answer.
	At int
}

// Check opens the database of a data folder with SQLite, without gaff, and returns its faults:
// inconsistent pages, missing acknowledged events or bodies, and stored files that are missing or
// have different content. cut is the number of operations before the cut.
func Check(data string, cut int, acknowledged []Acknowledged) error {
	path := filepath.Join(data, "gaff.db")
	if _, err := os.Stat(path); err != nil {
		for _, a := range acknowledged {
			if a.At <= cut {
				return fmt.Errorf("the database is missing, and %s of %s was acknowledged", a.WebhookID, a.Source)
			}
		}
		return nil
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var verdict string
	if err := db.QueryRow(`pragma integrity_check(1)`).Scan(&verdict); err != nil || verdict != "ok" {
		return fmt.Errorf("integrity_check: %s %w", verdict, err)
	}
	return errors.Join(checkEvents(db, cut, acknowledged), checkKeys(db), checkFiles(db, filepath.Join(data, "media")))
}

// checkKeys finds events that would be stored twice if they were sent again.
func checkKeys(db *sql.DB) error {
	var migrated, unknown int
	if err := db.QueryRow(`select count(*) from sqlite_schema where name = 'event_by_key'`).Scan(&migrated); err != nil || migrated == 0 {
		return err
	}
	err := db.QueryRow(`select count(*) from (select source, dedupe, seq from event except select source, dedupe, seq from event_by_key)`).Scan(&unknown)
	if err == nil && unknown > 0 {
		err = fmt.Errorf("%d events are not known by their keys", unknown)
	}
	return err
}

func checkEvents(db *sql.DB, cut int, acknowledged []Acknowledged) error {
	var tables int
	if err := db.QueryRow(`select count(*) from sqlite_schema where name = 'payload'`).Scan(&tables); err != nil {
		return err
	}
	present := map[[2]string]int{}
	if tables > 0 {
		rows, err := db.Query(`select e.source, e.webhook_id from event e join payload p on p.seq = e.seq`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key [2]string
			if err := rows.Scan(&key[0], &key[1]); err != nil {
				return err
			}
			present[key]++
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	lost, doubled := 0, 0
	for _, a := range acknowledged {
		switch n := present[[2]string{a.Source, a.WebhookID}]; {
		case n == 0 && a.At <= cut:
			lost++
		case n > 1:
			doubled++
		}
	}
	if lost > 0 || doubled > 0 {
		return fmt.Errorf("%d acknowledged events are lost, %d are doubled", lost, doubled)
	}
	return nil
}

func checkFiles(db *sql.DB, folder string) error {
	var tables int
	if err := db.QueryRow(`select count(*) from sqlite_schema where name = 'media'`).Scan(&tables); err != nil || tables == 0 {
		return err
	}
	rows, err := db.Query(`select id, stored_url, sha256 from media where stored_url <> ''`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var faults []error
	for rows.Next() {
		var id, key, want string
		if err := rows.Scan(&id, &key, &want); err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(folder, key))
		if err != nil {
			faults = append(faults, fmt.Errorf("%s is stored: %w", id, err))
			continue
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want {
			faults = append(faults, fmt.Errorf("%s is stored, and its content is not that of its SHA-256", id))
		}
	}
	return errors.Join(append(faults, rows.Err())...)
}
