package starling_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"slices"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/resources"
)

// A type of the program's own. Recover runs the commands of the log, so it must know it.
var (
	taken = resources.NewCell[int]("taken")
	take  = resources.NewCommand("take", func(tx *resources.Tx, seats int) (int, error) {
		n, err := taken.Get(tx)
		if err != nil {
			return 0, err
		}
		return n + seats, taken.Set(tx, n+seats)
	})
	hall = resources.NewType("hall", 1, take)
)

// A new cluster is begun from the best of some directories, without two entries that
// no member gets past. Interrupted, it says which command it stands at.
func ExampleRecover() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dirs := []string{"/var/lib/a1", "/var/lib/a2", "/var/lib/a3"}
	survey, err := starling.Survivors(ctx, dirs...)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(survey.Quorum.Text)
	best := slices.IndexFunc(survey.Survivors, func(s starling.Survivor) bool { return s.Best })
	if best < 0 {
		log.Fatal("nothing can be begun from these")
	}
	r, err := starling.Recover(ctx, starling.RecoverConfig{
		Dir: dirs[best], Others: slices.Delete(slices.Clone(dirs), best, best+1),
		AlthoughQuorumIsIntact: true, // the members are sound, and stand at the first of them
		Types:                  []*starling.Type{hall},
		Refuse:                 []starling.Index{52100, 52107},
		Logger:                 slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("start", r.Name, "as always; all others join with empty directories; left out:", r.Refused)
}
