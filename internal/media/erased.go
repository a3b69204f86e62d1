package media

import (
	"context"
	"fmt"
	"path"
	"sync"
	"time"

	"gaff/jobs"
)

// ErasedStore has the list of files that no row names any more. It is written in the transaction
// that deletes the rows, so that a crash loses no entry.
type ErasedStore interface {
	// ErasedFiles returns keys after a key, in their order. FileErased removes a key from the list
	// if it was added before a time.
	ErasedFiles(ctx context.Context, after string, limit int) ([]string, error)
	FileErased(ctx context.Context, key string, before time.Time) error
	// FileNamed reports whether a row names the file.
	FileNamed(ctx context.Context, key string) (bool, error)
}

const (
	erasedPage = 100
	// forNodes is how long a key stays in the list if each node has a folder of its own, so that
	// all of them delete the file.
	forNodes = 48 * time.Hour
)

// RemoveErased deletes the files of the list from storage, and partial downloads of files whose
// rows are deleted. A file that another row names stays.
func (k *Keeper) RemoveErased(ctx context.Context) error {
	if err := k.sweepSpool(ctx); err != nil {
		return err
	}
	for after := ""; ; {
		keys, err := k.o.Store.ErasedFiles(ctx, after, erasedPage)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := k.removeErased(ctx, key); err != nil {
				return fmt.Errorf("delete erased files: %w", err)
			}
			after = key
		}
		if len(keys) < erasedPage {
			return nil
		}
	}
}

func (k *Keeper) removeErased(ctx context.Context, key string) error {
	defer k.contents.lock(path.Base(key))()
	before := time.Now().Add(time.Hour) // clocks of nodes differ
	named, err := k.o.Store.FileNamed(ctx, key)
	if err == nil && !named {
		err = k.o.Blobs.Delete(ctx, key)
		if k.o.FolderPerNode {
			before = time.Now().Add(-forNodes)
		}
	}
	if err != nil {
		return err
	}
	return k.o.Store.FileErased(ctx, key, before)
}

// drop adds a copy to the list: its row was deleted while it was made.
func (k *Keeper) drop(ctx context.Context, c *made) error {
	return k.o.Store.Write(ctx, func(tx jobs.Tx) error {
		for _, key := range []string{c.key, c.thumbnail} {
			if err := tx.DropFile(ctx, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// contentLocks keep a content from being deleted while a row that names it is about to be stored.
type contentLocks struct {
	mu   sync.Mutex
	held map[string]*contentLock
}

type contentLock struct {
	sync.Mutex
	users int
}

// lock locks a content, by its hash, until unlock is called.
func (c *contentLocks) lock(hash string) (unlock func()) {
	c.mu.Lock()
	if c.held == nil {
		c.held = map[string]*contentLock{}
	}
	l := c.held[hash]
	if l == nil {
		l = &contentLock{}
		c.held[hash] = l
	}
	l.users++
	c.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		c.mu.Lock()
		if l.users--; l.users == 0 {
			delete(c.held, hash)
		}
		c.mu.Unlock()
	}
}
