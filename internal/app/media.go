package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"gaff"
	"gaff/internal/api"
	"gaff/internal/blob"
	"gaff/internal/config"
	"gaff/internal/media"
	"gaff/internal/safehttp"
	"gaff/jobs"
)

const (
	// mediaOff is the GAFF_MEDIA_URL with which nothing is kept.
	mediaOff = "off"

	mediaDir = "media"
	spoolDir = "media-spool"
	// storageCheck is how long the storage may take to show that it works.
	storageCheck = 20 * time.Second
	// sweepEvery is the time between two looks for what crashes left.
	sweepEvery = time.Hour
	// mediaRedirects is how many a file's link may lead through.
	mediaRedirects = 5
)

// storedMedia are the parts that keep and serve files; zero if none are kept.
type storedMedia struct {
	*media.Server
	keeper *media.Keeper
	blobs  blob.Store
	// inFolder is set if the copies are in a folder.
	inFolder bool
}

func (k *storedMedia) Again(ctx context.Context, id string) error { return k.keeper.Again(ctx, id) }

// api and handler are nil, not a pointer to nothing, where no files are kept.
func (k *storedMedia) api() api.MediaFiles {
	if k.Server == nil {
		return nil
	}
	return k
}

func (k *storedMedia) handler() http.Handler {
	if k.Server == nil {
		return nil
	}
	return k.Server
}

func (k *storedMedia) close() {
	if k.blobs != nil {
		_ = k.blobs.Close()
	}
}

// keepMedia builds what keeps files, and registers its handler. base is before the links.
func keepMedia(ctx context.Context, cfg *config.Config, st interface {
	jobs.Store
	jobs.Reader
	media.ErasedStore
	LinkMedia(func(*jobs.Media) jobs.MediaLinks)
}, gw *gaff.Gateway, base string, headers func(provider, address string) http.Header, log *slog.Logger) (*storedMedia, error) {
	if cfg.MediaURL == mediaOff {
		return &storedMedia{}, nil
	}
	blobs, err := blob.Open(cmp.Or(cfg.MediaURL, filepath.Join(cfg.DataDir, mediaDir)))
	if err != nil {
		return nil, fmt.Errorf("GAFF_MEDIA_URL: %w; set it to off to keep no files", err)
	}
	k := &storedMedia{blobs: blobs}
	announce := time.Duration(0)
	if cfg.DatabaseURL != "" {
		announce = jobs.AnnounceKeys
	}
	allow, err := safehttp.Prefixes(cfg.AllowAddresses)
	if err == nil {
		k.keeper, err = media.New(media.Options{
			Store: st, Router: gw, Blobs: blobs, Client: safehttp.New(safehttp.Options{Allow: allow, Redirects: mediaRedirects}),
			Spool: filepath.Join(cfg.DataDir, spoolDir), MaxSize: cfg.Media.MaxSize, Types: cfg.Media.Types, Log: log,
			FolderPerNode: foldersPerNode(cfg), Headers: headers,
		})
	}
	if err == nil {
		k.Server, err = media.NewServer(ctx, media.ServerOptions{Store: st, Blobs: blobs, Base: base, LinkFor: cfg.Media.LinkFor, Announce: announce, Client: gw.ClientAddress, Lost: k.keeper.Lost, Log: log})
	}
	if err != nil {
		k.close()
		return nil, err
	}
	k.inFolder = !strings.Contains(cfg.MediaURL, "://") || strings.HasPrefix(cfg.MediaURL, "file:")
	st.LinkMedia(k.Links)
	gw.HandleWith(gaff.InternalSource, jobs.MediaCreated, k.keeper, gaff.HandleOptions{
		Name: jobs.KeepFiles, Workers: cfg.Media.Workers, Retry: &media.Policy,
	})
	return k, nil
}

// foldersPerNode reports whether other nodes of the database would not see the files of this one.
func foldersPerNode(cfg *config.Config) bool {
	return cfg.DatabaseURL != "" && cfg.MediaURL != mediaOff && blob.NodeLocal(cfg.MediaURL)
}

// check reads every copy in a folder a minute after the start and once a day. Buckets check
// their objects themselves.
func (k *storedMedia) check(ctx context.Context, log *slog.Logger) {
	if !k.inFolder {
		return
	}
	for wait := pruneFirst; ; wait = checkEvery {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if _, err := k.keeper.Check(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, gaff.ErrStopped) {
			log.Warn("check of the stored files", "error", err)
		}
	}
}

// tend finds out whether the storage works, and then keeps it and the spool tidy until ctx
// ends. An unreachable storage must not keep webhooks out: copies are made when
// it is back. But the operator who starts the gateway should see a warning.
func (k *storedMedia) tend(ctx context.Context, log *slog.Logger) {
	if k.blobs == nil {
		return
	}
	check, cancel := context.WithTimeout(ctx, storageCheck)
	defer cancel()
	if err := k.blobs.Check(check); err != nil && ctx.Err() == nil {
		log.Error("files cannot be kept for now", "storage", k.blobs.String(), "error", err)
	}
	for {
		if err := k.keeper.Sweep(ctx); err != nil && ctx.Err() == nil {
			log.Warn("leftovers of unfinished copies could not be removed", "error", err)
		}
		if err := k.keeper.RemoveErased(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, gaff.ErrStopped) {
			log.Warn("files of erased rows are not deleted yet; this is repeated every hour", "error", err)
		}
		select {
		case <-time.After(sweepEvery):
		case <-ctx.Done():
			return
		}
	}
}
