// Package gaff receives webhooks of asynchronous services, verifies who sent them, stores
// them on disk before it acknowledges them, and processes each one with retries until its
// effects have happened exactly once.
//
// A [Gateway] joins a [Store] (store/sqlite), sources (provider/fal, provider/lastframe,
// provider/custom) and handlers:
//
//	func receive(ctx context.Context, mux *http.ServeMux, options fal.Options, album *Album) (*gaff.Gateway, error) {
//		st, err := sqlite.Open(ctx, "gaff.db", sqlite.Options{})
//		if err != nil {
//			return nil, err
//		}
//		gw, err := gaff.New(gaff.Options{Store: st})
//		if err != nil {
//			return nil, err
//		}
//		source, err := fal.Source(options)
//		if err != nil {
//			return nil, err
//		}
//		gw.AddSource(source)
//		gw.Handle("fal", fal.Completed, fal.Handler(func(ctx context.Context, ev *gaff.Event, r fal.Result) error {
//			return album.Add(ctx, r.Images)
//		}))
//		mux.Handle(gaff.PathPrefix, gw.IngestHandler())
//		return gw, gw.Start(ctx) // gw.Stop(ctx) ends it
//	}
//
// Data flows one way: request, event, delivery, handler, effects. A request that is verified
// and parsed becomes an [Event]; each handler registered for its source and type gets a
// [Delivery] of it, and each run of the handler is an [Attempt].
package gaff
