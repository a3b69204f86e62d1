// Package gaff receives webhooks of asynchronous services, proves who sent them, keeps
// them on disk before it says thanks, and works each one with retries until its effects
// have happened exactly once.
//
// A [Gateway] joins a [Store] (store/sqlite), sources (provider/fal, provider/lastframe,
// provider/custom) and handlers:
//
//	st, err := sqlite.Open(ctx, "gaff.db", sqlite.Options{})
//	gw, err := gaff.New(gaff.Options{Store: st})
//	gw.AddSource(fal.Source(fal.Options{}))
//	gw.Handle("fal", "generation.completed", gaff.JSON(func(ctx context.Context, ev *gaff.Event, r fal.Result) error {
//		return album.Add(ctx, r.Images)
//	}))
//	mux.Handle(gaff.PathPrefix, gw.IngestHandler())
//	err = gw.Start(ctx) // and gw.Stop(ctx)
//
// Data flows one way: request, event, delivery, handler, effects. A request that is proven
// and read becomes an [Event]; each handler registered for its source and type gets a
// [Delivery] of it; each try is an [Attempt].
package gaff
