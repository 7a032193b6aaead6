// Package told judges whole histories of what watches were told: it holds the stream of each
// watch, and of each copy that is kept by the rule of Map.Follow, against what the log changed.
//
// The simulator uses it at the end of each seed, and tests over real processes do: there is no
// second rule of what a watch may tell. It knows neither members nor clients, but only a [Truth],
// one for each resource, and a [Stream] for each loop over a watch, as the loop saw it. Who
// records a stream must not put it in order.
package told
