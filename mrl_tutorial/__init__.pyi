"""The main names and where each lives, for editors, for type checkers, and for `__init__.py`, which loads them."""

from mrl_tutorial import panels as panels
from mrl_tutorial.errors import InputError as InputError
from mrl_tutorial.evaluation.embeddings import embed_task as embed_task
from mrl_tutorial.evaluation.quality import evaluate_grid as evaluate_grid
from mrl_tutorial.evaluation.reduction import Reduction as Reduction
from mrl_tutorial.grid import Grid as Grid
from mrl_tutorial.grid import default_dims as default_dims
from mrl_tutorial.losses import TERMS as TERMS
from mrl_tutorial.losses import Batch as Batch
from mrl_tutorial.losses import NestedClassifier as NestedClassifier
from mrl_tutorial.losses import term as term
from mrl_tutorial.models.encoder import Encoder as Encoder
from mrl_tutorial.models.export import export as export
from mrl_tutorial.models.heads import whitened as whitened
from mrl_tutorial.panels.cascade_tuner import CascadeTuner as CascadeTuner
from mrl_tutorial.panels.explorer import GridExplorer as GridExplorer
from mrl_tutorial.panels.funnel_designer import FunnelDesigner as FunnelDesigner
from mrl_tutorial.panels.importance_weights import ImportanceWeights as ImportanceWeights
from mrl_tutorial.panels.loss_lab import LossLab as LossLab
from mrl_tutorial.panels.prefix_map import PrefixMap as PrefixMap
from mrl_tutorial.panels.size_calculator import SizeCalculator as SizeCalculator
from mrl_tutorial.panels.spectrum_explorer import SpectrumExplorer as SpectrumExplorer
from mrl_tutorial.panels.term_explorer import TermExplorer as TermExplorer
from mrl_tutorial.panels.truncation_trap import TruncationTrap as TruncationTrap
from mrl_tutorial.prefixes import nested_scores as nested_scores
from mrl_tutorial.prefixes import normalize as normalize
from mrl_tutorial.prefixes import prefix as prefix
from mrl_tutorial.recipes.recipe import Recipe as Recipe
from mrl_tutorial.recipes.recipe_file import RecipeFile as RecipeFile
from mrl_tutorial.recipes.registry import RECIPES as RECIPES
from mrl_tutorial.recipes.registry import get_recipe as get_recipe
from mrl_tutorial.retrieval.costs import cell_price as cell_price
from mrl_tutorial.retrieval.measure import embed_splits as embed_splits
from mrl_tutorial.retrieval.measure import measure_path as measure_path
from mrl_tutorial.retrieval.milvus import MilvusStore as MilvusStore
from mrl_tutorial.retrieval.planner import plan_retrieval as plan_retrieval
from mrl_tutorial.retrieval.retriever import Retriever as Retriever
from mrl_tutorial.retrieval.stages import Stage as Stage
from mrl_tutorial.retrieval.stages import funnel as funnel
from mrl_tutorial.retrieval.stages import shortlist as shortlist
from mrl_tutorial.tasks.load import load_task as load_task
from mrl_tutorial.training.lab import train_recipe as train_recipe
from mrl_tutorial.training.loop import train as train
from mrl_tutorial.training.trainer_loss import RecipeLoss as RecipeLoss

__version__: str
