package broker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A slow connection attempt holds up no caller beyond its own context.
func TestLazyHonoursEachCallersContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		l := Lazy[int]{Make: func(ctx context.Context) (int, error) {
			attempts++
			select {
			case <-time.After(time.Minute):
				return 7, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}}
		go func() { _, _ = l.Get(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := l.Get(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %s: %v, want the end of the context after a second", time.Since(began), err)
		}
		if v, err := l.Get(context.Background()); v != 7 || err != nil || attempts != 1 {
			t.Errorf("%d, %v after %d attempts; want 7 after one", v, err, attempts)
		}
	})
}

// After a failure the next caller tries again, one that waited for it as well.
func TestLazyTriesAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		l := Lazy[int]{Make: func(context.Context) (int, error) {
			time.Sleep(time.Second)
			if attempts++; attempts == 1 {
				return 0, errors.New("down")
			}
			return 7, nil
		}}
		first := make(chan error)
		go func() {
			_, err := l.Get(context.Background())
			first <- err
		}()
		synctest.Wait()
		second := make(chan int)
		go func() {
			v, _ := l.Get(context.Background())
			second <- v
		}()
		if err := <-first; err == nil {
			t.Error("the first attempt succeeded")
		}
		if v := <-second; v != 7 {
			t.Errorf("the second attempt gave %d, want 7", v)
		}
	})
}
