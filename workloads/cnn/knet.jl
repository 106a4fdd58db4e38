# CNN on CIFAR-10 in Knet, from Julia.
using Knet: @diff, CUDA, Knet, Momentum, conv4, dropout, grad, mat, nll, param, param0, pool, relu, update!, value
using PyCall
using Random

harness = pyimport("harness")

gpu = CUDA.functional()
cell = harness.Cell(
    string(pkgversion(Knet)),
    gpu ? string(CUDA.version()) : nothing,
    gpu ? string(CUDA.CUDNN.version()) : nothing,
    Dict("julia" => string(VERSION), "PyCall" => string(pkgversion(PyCall))),
)
params = cell.params
Random.seed!(cell.seed)
gpu && CUDA.seed!(cell.seed)
@assert gpu == (cell.gpus > 0) "Knet takes a GPU if it sees one, else the CPU, without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
# Julia's arrays are column-major: what is (N, C, H, W) in Python is (W, H, C, N) here, without moving a number.
data = pycall(cell.data, PyObject; layout = "NCHW")
columns(x) = Knet.atype(x.T) # from NumPy; on a GPU, to the GPU
rows(x) = PyReverseDims(Array(x)) # and back

# --- Model ----------------------------------------------------------------------------------------------------------
# A layer is whatever can be called: Knet follows the operations, and finds the parameters by their type.
struct Chain
    layers
end
(chain::Chain)(x) = foldl((x, layer) -> layer(x), chain.layers; init = x)

struct Conv
    w
    b
end
Conv(inputs::Int, outputs::Int) = Conv(param(3, 3, inputs, outputs), param0(outputs))
(layer::Conv)(x) = conv4(layer.w, x; padding = 1, mode = 1) .+ reshape(layer.b, 1, 1, :, 1) # mode 0 turns the window

struct Dense
    w
    b
end
Dense(inputs::Int, outputs::Int) = Dense(param(outputs, inputs), param0(outputs))
(layer::Dense)(x) = layer.w * x .+ layer.b

activate(x) = relu.(x)
drop(rate) = x -> dropout(x, rate) # on inside of @diff, off elsewhere

few, many = params.filters
drop1, drop2, drop3 = params.dropout
model = Chain([ # Glorot uniform, biases zero: the default of param
    Conv(3, few), activate,
    Conv(few, few), pool, activate, # ReLU after the pool: same values, a quarter of the work
    drop(drop1),
    Conv(few, many), activate,
    Conv(many, many), pool, activate,
    drop(drop2),
    mat, # all axes but the last become one
    Dense(many * 8 * 8, params.hidden), activate,
    drop(drop3),
    Dense(params.hidden, params.n_classes),
])

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function(x, y) = nll(model(x), y) # takes logits, and labels from 1
parameters = Knet.params(model)
for parameter in parameters # each has its own optimiser
    parameter.opt = Momentum(lr = params.learning_rate, gamma = params.momentum)
end


# --- Training step --------------------------------------------------------------------------------------------------
function train_step(x, y)
    loss = @diff loss_function(columns(x), y .+ 1)
    for parameter in parameters
        update!(value(parameter), grad(loss, parameter), parameter.opt)
    end
    return value(loss)
end


# --- Prediction -----------------------------------------------------------------------------------------------------
predict(x) = rows(model(columns(x)))


# --- Weights --------------------------------------------------------------------------------------------------------
set_weights(arrays) = foreach((parameter, array) -> copyto!(value(parameter), array.T), parameters, arrays)
get_weights() = [PyObject(rows(value(parameter))) for parameter in parameters]

weights = harness.Weights(get_weights, pyfunction(set_weights, Vector{PyObject}); dense = "IO")
cell.run(
    data,
    pyfunction(predict, PyObject), # PyObject: as Python has it, its axes not yet turned
    pyfunction(train_step, PyObject, Vector{Int});
    synchronize = gpu ? CUDA.synchronize : nothing,
    weights,
)
